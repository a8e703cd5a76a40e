"""Steps until two random starts have met, beside the steps that the rate of contraction gives. No time is measured here."""

from __future__ import annotations

import statistics
from typing import Final

import numpy as np

from benchmarks.reporting import Row
from echoplaned.dtesn import SIZE_CLASSES, ReservoirSettings, TreeReservoir

SEEDS: Final = 20
TOLERANCE: Final = 1e-5
_BLOCK: Final = 256


def measure() -> list[Row]:
    """Return two rows a size class: the most steps of any seed and their median, with shipped settings and one token a step."""
    return [row for size_class in SIZE_CLASSES for row in _class(size_class)]


def _class(size_class: str) -> list[Row]:
    given = TreeReservoir.of_class(size_class, 4).washout(TOLERANCE)
    met = [
        steps_until_met(TreeReservoir.of_class(size_class, 4, ReservoirSettings(seed=seed)), seed)
        for seed in range(SEEDS)
    ]
    name, rate = f"washout of the {size_class} class to {TOLERANCE:g}", "what the rate gives"
    return [
        Row(f"{name}, most of {SEEDS} seeds", max(met), "steps", rate, given, given, rate),
        Row(f"{name}, median of {SEEDS} seeds", statistics.median(met), "steps", rate, given),
    ]


def steps_until_met(reservoir: TreeReservoir, seed: int) -> int:
    """Return the steps after which two random starts stay within `TOLERANCE` in every unit, under inputs that look like telemetry."""
    random = np.random.default_rng(seed)
    first, second = (random.uniform(-1, 1, reservoir.units).astype(np.float32) for _ in range(2))
    last_apart = 0
    for begun in range(0, reservoir.washout_bound(TOLERANCE), _BLOCK):
        inputs = random.standard_normal((_BLOCK, 4)).astype(np.float32)
        apart = np.abs(reservoir.run(inputs, state=first) - reservoir.run(inputs, state=second)).max(axis=1)
        over = np.flatnonzero(apart > TOLERANCE)
        last_apart = begun + int(over[-1]) + 1 if len(over) else last_apart
    return last_apart + 1
