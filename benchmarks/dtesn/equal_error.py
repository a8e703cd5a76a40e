"""Time of a step at equal error: how many units reservoirpy needs for our error on NARMA-10, and what a step takes it then.

It has as many connections as we have, and float32, as we have; only its number of units is chosen.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from benchmarks.dtesn.others import ReservoirpyModel, reservoirpy_node
from benchmarks.dtesn.speed import fastest
from benchmarks.reporting import Row
from echoplaned.dtesn import EchoStateRegressor, TreeReservoir
from tests.dtesn import tasks

SEEDS: Final = 20
UNITS: Final = (256, 320, 384, 448, 512, 640, 768, 1024, 1280)
_STEPS: Final = 200


def measure() -> list[Row]:
    """Return the time of a step beside that of the smallest of reservoirpy's reservoirs with at most our error."""
    ours = TreeReservoir.of_class("small", 1)
    wanted = float(np.mean([narma(seed, EchoStateRegressor(seed=seed, leak=1.0)) for seed in range(SEEDS)]))
    non_zeros = ours.non_zeros - ours.units
    units, error = _smallest(wanted, non_zeros)
    inputs = np.random.default_rng(0).standard_normal((_STEPS, 1)).astype(np.float32)
    out, state = np.empty((_STEPS, ours.units), np.float32), ours.initial_state()
    own = fastest(lambda: ours.run(inputs, state=state, out=out), 30) / _STEPS
    node = reservoirpy_node(units, non_zeros=non_zeros, dtype=np.float32)
    node.run(inputs[:2])
    theirs = fastest(lambda: node.run(inputs), 5) / _STEPS
    name = f"a step at equal NARMA-10 error, {ours.units} units, error {wanted:.4f}, mean of {SEEDS} seeds"
    peer = f"reservoirpy 0.4, {units} units, error {error:.4f}, equal non-zeros, float32"
    return [Row(name, own, "us", peer, theirs)]


def narma(seed: int, model: Any) -> float:  # noqa: ANN401 - reservoirpy has no types
    """Return the error of one model."""
    return tasks.narma_error(seed, lambda _: model)[0]


def _smallest(wanted: float, non_zeros: int) -> tuple[int, float]:
    """Return units and error of the smallest reservoir that is as good, or else of the best."""
    best = (0, np.inf)
    for units in UNITS:
        options = {
            "lr": 1.0,
            "sr": 0.85,
            "input_scaling": 0.15,
            "bias": 0.15,
            "rc_connectivity": min(1.0, non_zeros / units**2),
            "dtype": np.float32,
        }
        models = [ReservoirpyModel(units, {"seed": seed, **options}) for seed in range(SEEDS)]
        error = float(np.mean([narma(seed, model) for seed, model in enumerate(models)]))
        print(f"  reservoirpy with {units} units: error {error:.4f}, wanted {wanted:.4f}", flush=True)
        if error <= wanted:
            return units, error
        best = min(best, (units, error), key=lambda found: found[1])
    return best


if __name__ == "__main__":
    for row in measure():
        print(row)
