"""From measured processes to the constants of the next plan, and from one process's report to a reading.

The reasoning is in docs/adr/0007-calibration.md.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from echoplaned import _allocator
from echoplaned.core.calibration import EngineKey, MemorySample, MemoryUsage
from echoplaned.core.plan import Calibration
from echoplaned.planning._translate import translate_errors
from echoplaned.planning.sizing import SizedModel

WEIGHTS: Final = frozenset({"weights", "quantisation_zero_points", "buffers"})
"""Components that stay for as long as a model is loaded, and equal the sum over its tensors."""
TEMPORARY: Final = frozenset({"kv_cache", "state_cache", "cross_cache", "activations", "logits"})
"""Components that a call takes and frees, of which the heap keeps a part."""
BESIDE: Final = frozenset({"dequantised_copy", "tokenizer", "matrix_packing", "kernel_code"})
"""Other components that a formula gives whatever the constants."""


@dataclass(frozen=True, slots=True)
class CalibratedConstants:
    """Constants for plans, and what they come from."""

    shown: Calibration
    native: _allocator.Constants


def calibrate(key: EngineKey, samples: Sequence[MemorySample]) -> CalibratedConstants:
    """Fit the constants of an engine on a device to samples; without any, the prior answers and says so.

    Raises:
        FieldInvalidError: a memory sample's size is negative.
    """
    serving = [(float(one.temporary_bytes), float(one.beyond_bytes)) for one in samples]
    # A load that only copies tells nothing of casts.
    loading = [(float(one.loaded_bytes), float(one.load_beyond_bytes)) for one in samples if one.loaded_bytes]
    with translate_errors():
        native = _allocator.calibrate(serving, loading)
    shown = Calibration(
        engine=key.engine,
        engine_version=key.engine_version,
        device=key.device,
        sample_count=len(samples),
        time_s=max((one.time_s for one in samples), default=0.0),
        overhead_bytes=round(native.overhead_bytes),
        heap_slack=native.heap_slack,
        load_overhead_bytes=round(native.load_overhead_bytes),
        load_slack=native.load_slack,
    )
    return CalibratedConstants(shown, native)


def explain(subject: str, time_s: float, usage: MemoryUsage, sized: SizedModel, stored_bytes: int) -> MemorySample:
    """Return a process's report beside what the formulas give for the batch that it computed.

    Args:
        subject: the instance and its generation.
        time_s: when it was measured, seconds since the epoch.
        usage: what it reports.
        sized: the model at the very batch that was exercised, not at the plan's.
        stored_bytes: of the checkpoint's tensors.
    """
    weights = _sum(sized, WEIGHTS)
    temporary, beside = _sum(sized, TEMPORARY), _sum(sized, BESIDE)
    loaded = 0 if sized.is_copied else stored_bytes + weights
    return MemorySample(
        subject=subject,
        time_s=time_s,
        temporary_bytes=temporary,
        beyond_bytes=usage.serving_peak_bytes - weights - temporary - beside,
        loaded_bytes=loaded,
        load_beyond_bytes=usage.load_peak_bytes - loaded - _sum(sized, {"tokenizer"}) if loaded else 0,
    )


def _sum(sized: SizedModel, names: Collection[str]) -> int:
    """Return the bytes of all components of some names; layers of several kinds have one each of the same name."""
    return sum(part.bytes for part in sized.components if part.name in names)
