"""The margins that a change of behaviour is compared with.

A margin is the policy's, three times what INT8 does to the old version, or a default.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import MappingProxyType

from echoplaned.core.behaviour import Int8Baseline
from echoplaned.core.facts import Task
from echoplaned.core.spec import EchoPolicy, EchoPreset
from echoplaned.gates.echo import distances
from echoplaned.gates.echo.paired import DistanceMeasure
from echoplaned.gates.echo.scored import ScoredText

DEFAULT_KL_NATS = 0.004
"""Three times that of an 8-bit copy (q8_0) of Llama 3 8B, which llama.cpp's perplexity tool lists with 0.00139 nats a token."""

DEFAULT_COSINE_DISTANCE = 0.002
"""Three times the mean cosine distance of an INT8 copy of all-MiniLM-L6-v2 on the golden texts (0.00055), rounded up."""

PRESETS = MappingProxyType(
    {
        EchoPreset.SAME_WEIGHTS: (0.001, 0.0005),
        EchoPreset.QUANTISED: (0.1, 0.05),
        EchoPreset.FINE_TUNED: (0.5, 0.25),
    }
)
"""Margins in nats and in cosine distance by what was declared of a version; stated, and not measured on the model at hand.

Same weights: a quarter of the default. vLLM and llama.cpp gave log-probabilities of one checkpoint in FP32 within 0.0005 of each other,
this allows 0.036 on average. Quantised: three times that of a copy in 4 bits (q4_K_M) of Llama 3 8B, about 0.03 by the same table.
Fine-tuned: half a nat; nothing was measured for it, and what is farther off has lost more than it learnt.
"""

INT8_BASELINE_FACTOR = 3.0
"""The margin in distances of the old version from itself in INT8."""

TEXTS_MEASURED = 16
"""Golden texts that this distance is measured on."""

_MIN_TEXTS = 8


def is_open(policy: EchoPolicy, task: Task) -> bool:
    """Say whether the policy leaves the margin to a measurement."""
    return policy.preset is None and (policy.max_distance if task is Task.EMBEDDING else policy.max_kl_nats) is None


def measure(task: Task, texts: tuple[ScoredText, ...]) -> Int8Baseline | str:
    """Return how far a version is from itself in INT8.

    Returns text that says why, where that is not known. ``texts``: scored in INT8 and as it is.
    """
    good = tuple(text for text in texts if not text.problem)
    if len(good) < _MIN_TEXTS:
        problems = [text.problem for text in texts if text.problem]
        return problems[0] if problems else f"{len(good)} texts are too few"
    by = measure_of(task, good)
    rows = [found.distances for text in good if (found := text.distance(by)) is not None]
    values = [value for row in rows for value in row]
    mean = math.fsum(values) / len(values) if values and all(map(math.isfinite, values)) else math.nan
    if not mean > 0.0:
        return "INT8 changes nothing that can be measured"
    return Int8Baseline(by.value, mean, len(rows))


def measure_of(task: Task, texts: Sequence[ScoredText]) -> DistanceMeasure:
    """Return the distance that all of the texts can be measured by."""
    if task is Task.CLASSIFICATION:
        return DistanceMeasure.CLASS_KL
    if task is Task.EMBEDDING:
        return DistanceMeasure.COSINE
    return DistanceMeasure.KL if all(text.kl is not None for text in texts) else DistanceMeasure.LOG_PROBABILITY


def margin_of(
    policy: EchoPolicy, measure: DistanceMeasure, int8_baseline: Int8Baseline | None = None, why_default: str = ""
) -> tuple[float, str]:
    """Return the margin in a measure's unit, and where it comes from.

    ``why_default``: why nothing was measured.
    """
    is_cosine = measure is DistanceMeasure.COSINE
    given, name = (policy.max_distance, "max_distance") if is_cosine else (policy.max_kl_nats, "max_kl_nats")
    if given is not None:
        value, source = given, f"the policy's {name}"
    elif policy.preset is not None:
        value, source = PRESETS[policy.preset][is_cosine], f"the preset {policy.preset.value}"
    else:
        found = _of_int8_baseline(int8_baseline, measure)
        if found is not None:
            return found
        reason = f"; not measured: {why_default}" if why_default else ""
        value, source = DEFAULT_COSINE_DISTANCE if is_cosine else DEFAULT_KL_NATS, f"the default of {name}{reason}"
    if measure is DistanceMeasure.LOG_PROBABILITY:
        return distances.difference_of_kl(value), f"{source} ({value:g} nats) as a difference of log-probabilities"
    return value, source


def _of_int8_baseline(int8_baseline: Int8Baseline | None, measure: DistanceMeasure) -> tuple[float, str] | None:
    """Return the margin that was measured on the old version in INT8.

    None unless it was by this measure or by one that it follows from.
    """
    if int8_baseline is None:
        return None
    margin, source = INT8_BASELINE_FACTOR * int8_baseline.mean, f"{INT8_BASELINE_FACTOR:g} x {int8_baseline.mean:.3g}"
    origin = f"measured: {source}, the old version from itself in INT8 on {int8_baseline.texts} texts"
    if int8_baseline.measure == measure.value:
        return margin, origin
    if (int8_baseline.measure, measure) == (DistanceMeasure.KL.value, DistanceMeasure.LOG_PROBABILITY):
        return distances.difference_of_kl(margin), f"{origin}, as a difference of log-probabilities"
    return None
