"""Vector bin packing by OR-tools CP-SAT: the optimum on small instances. Never beside ``highspy`` in one process."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_WORKERS = 2


@dataclass(frozen=True, slots=True)
class Best:
    """The fewest bins that were found, whether fewer were proved impossible, and the seconds it took."""

    bins: int
    proved: bool
    seconds: float


def available() -> bool:
    """Return whether OR-tools is installed."""
    return importlib.util.find_spec("ortools") is not None


def fewest_bins(sizes: Sequence[Sequence[int]], capacity: Sequence[int], *, seconds: float) -> Best:
    """Pack ``sizes`` into as few bins of ``capacity`` as CP-SAT finds within ``seconds``.

    It starts from first fit in decreasing order of the sums, and bins are used in order, which removes their symmetry.
    """
    from ortools.sat.python import cp_model  # noqa: PLC0415  # only where it is installed

    began = time.monotonic()
    first = _first_fit(sizes, capacity)
    bins = max(first) + 1
    model: Any = cp_model.CpModel()
    inside = [[model.new_bool_var(f"x{item}_{number}") for number in range(bins)] for item in range(len(sizes))]
    used = [model.new_bool_var(f"u{number}") for number in range(bins)]
    for item, row in enumerate(inside):
        model.add_exactly_one(row)
        for number, one in enumerate(row):
            model.add_hint(one, int(first[item] == number))
    for number in range(bins):
        for dimension, amount in enumerate(capacity):
            load = sum(size[dimension] * inside[item][number] for item, size in enumerate(sizes))
            model.add(load <= amount * used[number])
    for number in range(bins - 1):
        model.add_implication(used[number + 1], used[number])
    for dimension, amount in enumerate(capacity):
        model.add(sum(used) >= -(-sum(size[dimension] for size in sizes) // amount))
    model.minimize(sum(used))
    solver: Any = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = seconds
    solver.parameters.num_workers = _WORKERS
    status = solver.solve(model)
    found = round(solver.objective_value) if status in {cp_model.OPTIMAL, cp_model.FEASIBLE} else bins
    return Best(found, status == cp_model.OPTIMAL, time.monotonic() - began)


def _first_fit(sizes: Sequence[Sequence[int]], capacity: Sequence[int]) -> list[int]:
    """Return the bin of each item by first fit, large sums first."""
    left: list[list[int]] = []
    found = [0] * len(sizes)
    for item in sorted(range(len(sizes)), key=lambda one: -sum(sizes[one])):
        fitting = (at for at, room in enumerate(left) if all(s <= r for s, r in zip(sizes[item], room, strict=True)))
        at = next(fitting, len(left))
        if at == len(left):
            left.append(list(capacity))
        left[at] = [room - size for room, size in zip(left[at], sizes[item], strict=True)]
        found[item] = at
    return found
