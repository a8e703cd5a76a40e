"""The reservoir's parameters as the DTESN design gives them."""

from __future__ import annotations

import math

import pytest

from echoplaned.core.errors import FieldInvalidError
from echoplaned.core.spec import ReservoirOverrides
from echoplaned.planning import plan_reservoir, size_class

TREES = {
    "small": (1, 2, 3, 4, 3, 2, 3, 4),
    "medium": (1, 2, 3, 4, 5, 6, 3, 4, 5, 6, 2, 3, 4, 5, 6, 3),
    "large": (1, 2, 3, 4, 5, 6, 7, 8, 4, 5, 6, 7, 8, 3, 4, 5, 6, 7, 8, 2, 3, 4, 5, 6, 7, 8, 3, 4, 5, 6, 7, 8),
}


@pytest.mark.parametrize(
    ("parameters", "name", "depth", "units"),
    [(22_713_216, "small", 4, 512), (13_015_864_320, "medium", 6, 1024), (68_976_648_192, "large", 8, 2048)],
)
def test_the_table_of_size_classes(parameters: int, name: str, depth: int, units: int) -> None:
    """Depth, units and tree follow from the count; time constants grow by 1/0.6 a level up to 32 tokens."""
    reservoir = plan_reservoir(parameters, 8)
    assert (reservoir.size_class, reservoir.membrane_depth, reservoir.units) == (name, depth, units)
    assert reservoir.tree == TREES[name]
    assert reservoir.level_time_constants[0] == pytest.approx(-1 / math.log(0.7))
    expected = [min(reservoir.level_time_constants[0] / 0.6**level, 32.0) for level in range(depth)]
    assert reservoir.level_time_constants == pytest.approx(expected)


def test_the_classes_meet_where_the_table_says() -> None:
    """The bounds belong to the larger class."""
    counts = (0, 9_999_999_999, 10_000_000_000, 39_999_999_999, 40_000_000_000)
    assert [size_class(count) for count in counts] == ["small", "small", "medium", "medium", "large"]


def test_bytes_grow_by_stream() -> None:
    """Weights are shared; each stream adds its own state."""
    one, nine = plan_reservoir(1, 1), plan_reservoir(1, 9)
    assert nine.total_bytes - one.total_bytes == 8 * one.bytes_per_stream
    assert one.bytes_per_stream >= 4 * one.units


@pytest.mark.parametrize(
    "overrides",
    [
        ReservoirOverrides(spectral_radius=1.0),
        ReservoirOverrides(spectral_radius=0.999999),
        ReservoirOverrides(spectral_radius=math.nan),
        ReservoirOverrides(leak=0.0),
        ReservoirOverrides(leak=1.0),
        ReservoirOverrides(input_scale=-1.0),
        ReservoirOverrides(input_scale=math.inf),
        ReservoirOverrides(block_density=0.0),
        ReservoirOverrides(block_density=math.nan),
    ],
)
def test_overrides_out_of_range(overrides: ReservoirOverrides) -> None:
    """Settings without the echo state property, or without a meaning, are refused."""
    with pytest.raises(FieldInvalidError):
        plan_reservoir(1, 1, overrides)


@pytest.mark.parametrize(("density", "layers"), [(1 / 64, 0), (0.125, 3), (0.25, 4), (1.0, 6)])
def test_a_denser_block_takes_more_memory(density: float, layers: int) -> None:
    """Each layer takes four bytes a unit of the shared weights, and nothing of a stream; the default has three."""
    default, found = (
        plan_reservoir(1, 8),
        plan_reservoir(1, 8, ReservoirOverrides(block_density=density)),
    )
    assert default.block_density == 0.125
    assert found.block_density == density
    assert found.bytes_per_stream == default.bytes_per_stream
    assert found.total_bytes - default.total_bytes == (layers - 3) * 4 * found.units


@pytest.mark.parametrize(
    ("density", "beside"), [(0.3, "0.25 and 0.5"), (0.01, "0.015625 and 0.03125"), (2.0, "0.5 and 1")]
)
def test_a_density_between_two_is_refused_with_both(density: float, beside: str) -> None:
    """No whole number of layers gives it, so the caller is told what is next to it."""
    with pytest.raises(FieldInvalidError, match=f"block_density is .* next to it are {beside}"):
        plan_reservoir(1, 1, ReservoirOverrides(block_density=density))
