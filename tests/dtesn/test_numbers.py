"""Whole numbers that the native module's integers do not hold."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from echoplaned.dtesn import (
    Configuration,
    Event,
    HealthAlgebra,
    RecursiveLeastSquares,
    ReservoirSettings,
    Series,
    SeriesCache,
    Streams,
    System,
    Tableau,
    TreeReservoir,
    bseries,
    errors,
    trees,
)

RESERVOIR = TreeReservoir.of_class("small", 1)
EMPTY = System.parse("def main() { @mu = []'1; @ms(1) = a; }")
CALLS: dict[str, Callable[[int], object]] = {
    "tree": lambda value: trees.canonical([value]),
    "count": trees.count,
    "rank": lambda value: trees.from_rank(5, value),
    "tree seed": lambda value: trees.random_tree(5, value),
    "order": lambda value: Series(Tableau.named("rk4"), value),
    "cached order": lambda value: SeriesCache().get(Tableau.named("rk4"), value),
    "trees": bseries.trees,
    "composition": lambda value: bseries.compose([1], [1], value),
    "seed": lambda value: TreeReservoir.of_class("small", 1, ReservoirSettings(seed=value)),
    "inputs": lambda value: TreeReservoir.of_class("small", value),
    "capacity": lambda value: Streams(RESERVOIR, value),
    "stream": lambda value: Streams(RESERVOIR, 1).close(value),
    "streams": lambda value: Streams(RESERVOIR, 1).step([value], [[0.0]]),
    "steps": lambda value: Configuration(EMPTY).run(value),
    "objects": lambda value: Configuration(EMPTY).insert(0, "a", value),
    "system seed": lambda value: Configuration(EMPTY, seed=value),
    "threshold": lambda value: HealthAlgebra(error=value, slow=1, drift=1),
    "events": lambda value: HealthAlgebra(error=1, slow=1, drift=1).record(3, Event.NEW_ERROR, value),
    "units": lambda value: RecursiveLeastSquares(value, 1),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("value", [-1, -(10**30), 10**40])
def test_what_no_integer_holds_has_its_error(name: str, value: int) -> None:
    """A number below 0 or over its bits is a caller's mistake like any other."""
    with pytest.raises(errors.ValueOverflowError):
        CALLS[name](value)
