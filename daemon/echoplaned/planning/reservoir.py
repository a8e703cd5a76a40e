"""The reservoir that goes with a model (the DTESN design, sections 1 to 3)."""

from __future__ import annotations

from typing import Final

from echoplaned import _allocator
from echoplaned.core.plan import Reservoir
from echoplaned.core.spec import ReservoirOverrides
from echoplaned.planning._translate import translate_errors

DEFAULT_SPECTRAL_RADIUS: Final = 0.85
DEFAULT_LEAK: Final = 0.3
DEFAULT_INPUT_SCALE: Final = 0.15
DEFAULT_BLOCK_DENSITY: Final = 0.125


def size_class(parameter_count: int) -> str:
    """Return ``small`` (below 10e9 parameters), ``medium`` (below 40e9) or ``large``."""
    return _allocator.size_class(parameter_count)


def plan_reservoir(parameter_count: int, streams: int, overrides: ReservoirOverrides | None = None) -> Reservoir:
    """Return class, tree, time constants and bytes of the reservoir of a model.

    Args:
        parameter_count: counted, never guessed from a name.
        streams: sequences that are listened to at once.
        overrides: the caller's changes.

    Raises:
        FieldInvalidError: an override is out of range; a spectral radius of 1 or more has no echo state property, and a block's density is
            2^layers / 64 of 0 to 6 layers: the text names the two next to what was asked for.
    """
    chosen = ReservoirOverrides() if overrides is None else overrides
    radius = DEFAULT_SPECTRAL_RADIUS if chosen.spectral_radius is None else chosen.spectral_radius
    leak = DEFAULT_LEAK if chosen.leak is None else chosen.leak
    input_scale = DEFAULT_INPUT_SCALE if chosen.input_scale is None else chosen.input_scale
    density = DEFAULT_BLOCK_DENSITY if chosen.block_density is None else chosen.block_density
    with translate_errors():
        native = _allocator.reservoir(
            parameter_count,
            streams,
            spectral_radius=radius,
            leak=leak,
            input_scale=input_scale,
            block_density=density,
        )
    return Reservoir(
        size_class=native.size_class,
        membrane_depth=native.membrane_depth,
        units=native.units,
        tree=tuple(native.tree),
        level_time_constants=tuple(native.level_time_constants),
        bytes_per_stream=native.bytes_per_stream,
        total_bytes=native.total_bytes,
        spectral_radius=radius,
        leak=leak,
        input_scale=input_scale,
        seed=0 if chosen.seed is None else chosen.seed,
        block_density=density,
    )
