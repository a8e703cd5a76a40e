"""Error on published tasks beside reservoirpy's with the same units and the same readout: means of seeds, with spread."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.dtesn.others import ReservoirpyModel
from benchmarks.reporting import Row
from echoplaned.dtesn import EchoStateRegressor
from tests.dtesn import tasks

SEEDS = int(os.environ.get("DTESN_SEEDS", "20"))
UNITS = 512


@dataclass(frozen=True)
class Task:
    """A task: how a model is scored, and both sides' settings, each tried by hand on seeds that are not used here."""

    name: str
    unit: str
    score: Callable[[int, Any], float]
    ours: dict[str, Any]
    theirs: dict[str, Any]
    limit: float | None = None
    aim: str = ""


TASKS = (
    Task(
        "NARMA-10, 512 units, leak 1, mean of seeds",
        "NMSE",
        lambda seed, model: tasks.narma_error(seed, lambda _: model)[0],
        {"leak": 1.0},
        {"lr": 1.0, "sr": 0.85, "input_scaling": 0.15, "bias": 0.15},
        0.035,
        "0.035",
    ),
    Task(
        "Mackey-Glass 84 steps ahead, 512 units, mean of seeds",
        "NRMSE",
        tasks.mackey_glass_error,
        {"leak": 0.7, "input_scale": 0.5},
        {"lr": 0.7, "sr": 0.85, "input_scaling": 0.5, "bias": 0.15},
    ),
    Task(
        "memory capacity, 512 units, 100 delays, mean of seeds",
        "inputs",
        lambda seed, model: tasks.memory_capacity(seed, model, delays=100),
        {"leak": 1.0, "input_scale": 0.05, "bias_scale": 0.0},
        {"lr": 1.0, "sr": 0.85, "input_scaling": 0.05},
    ),
)


def measure() -> list[Row]:
    """Return all rows; the spread is the standard deviation over seeds."""
    rows = []
    for task in TASKS:
        ours = [task.score(seed, EchoStateRegressor(seed=seed, **task.ours)) for seed in range(SEEDS)]
        theirs = [task.score(seed, ReservoirpyModel(UNITS, {"seed": seed, **task.theirs})) for seed in range(SEEDS)]
        name = f"{task.name} ({SEEDS})"
        peer = f"reservoirpy 0.4, spread {np.std(theirs):.3g} (ours {np.std(ours):.3g})"
        rows.append(Row(name, float(np.mean(ours)), task.unit, peer, float(np.mean(theirs)), task.limit, task.aim))
    return rows
