"""Constants of the sizing formulas, fitted to measured engine processes.

A process's report becomes a memory sample; samples become the constants of the next plan.
The reasoning is in docs/adr/0007-calibration.md.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from echoplaned import _allocator
from echoplaned.core.calibration import EngineKey, MemorySample, MemoryUsage
from echoplaned.core.plan import Calibration
from echoplaned.engine_kinds import find_sized
from echoplaned.planning._translate import translate_errors
from echoplaned.planning.sizing import SizedModel

WEIGHTS: Final = frozenset({"weights", "quantisation_zero_points", "buffers"})
"""Components that stay for as long as a model is loaded, and equal the sum over its tensors."""
TEMPORARY: Final = frozenset({"kv_cache", "state_cache", "cross_cache", "activations", "logits"})
"""Components that a call takes and frees, of which the heap keeps a part."""
BESIDE: Final = frozenset({"dequantised_copy", "tokenizer", "matrix_packing", "kernel_code", "lora_adapters"})
"""Other components that a formula gives whatever the constants."""


@dataclass(frozen=True, slots=True)
class CalibratedConstants:
    """Constants for plans, and what they come from.

    Attributes:
        shown: the constants as a plan shows them, with the engine, the device and the number of samples.
        native: the same constants as the native module takes them.
    """

    shown: Calibration
    native: _allocator.Constants


def calibrate(key: EngineKey, samples: Sequence[MemorySample]) -> CalibratedConstants:
    """Fit the constants of an engine on a device to memory samples.

    Without any sample the prior's constants are returned; a sample count of 0 says so.
    Of a foreign engine one constant is fitted: what its processes take beyond weights, cache and step.

    Raises:
        FieldInvalidError: a memory sample's size is negative.
    """
    serving = [(float(one.temporary_bytes), float(one.beyond_bytes)) for one in samples]
    # A load that only copies tells nothing of casts.
    loading = [(float(one.loaded_bytes), float(one.load_beyond_bytes)) for one in samples if one.loaded_bytes]
    foreign = is_foreign(key.engine)
    with translate_errors():
        native = _allocator.calibrate(serving, loading, foreign=foreign)
    shown = Calibration(
        engine=key.engine,
        engine_version=key.engine_version,
        device=key.device,
        sample_count=len(samples),
        time_s=max((one.time_s for one in samples), default=0.0),
        overhead_bytes=round(native.overhead_bytes),
        heap_slack=native.heap_slack,
        load_overhead_bytes=0 if foreign else round(native.load_overhead_bytes),
        load_slack=0.0 if foreign else native.load_slack,
    )
    return CalibratedConstants(shown, native)


def is_foreign(engine: str) -> bool:
    """Whether an engine is not ours."""
    kind = find_sized(engine)
    return kind is not None and kind.foreign is not None


def explain(subject: str, time_s: float, usage: MemoryUsage, sized: SizedModel, stored_bytes: int) -> MemorySample:
    """Return a memory sample: a process's report beside what the formulas give.

    The formulas are those for the batch that it computed.

    Args:
        subject: the instance and its generation.
        time_s: when it was measured, seconds since the epoch.
        usage: what it reports.
        sized: the model at the very batch that was exercised, not at the plan's.
        stored_bytes: of the checkpoint's tensors.
    """
    weights = _sum(sized, WEIGHTS)
    temporary, beside = _sum(sized, TEMPORARY), _sum(sized, BESIDE)
    # How another engine loads is its own matter: its plan has no row for it.
    loaded = 0 if sized.is_copied or is_foreign(sized.shape.engine) else stored_bytes + weights
    return MemorySample(
        subject=subject,
        time_s=time_s,
        temporary_bytes=temporary,
        beyond_bytes=usage.serving_peak_bytes - weights - temporary - beside,
        loaded_bytes=loaded,
        load_beyond_bytes=usage.load_peak_bytes - loaded - _sum(sized, {"tokenizer"}) if loaded else 0,
    )


def _sum(sized: SizedModel, names: Collection[str]) -> int:
    """Return the bytes of all components of some names.

    Layers of several kinds have one component each of the same name.
    """
    return sum(part.bytes for part in sized.components if part.name in names)
