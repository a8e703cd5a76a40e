"""Measured orders of convergence of every tableau on two problems, beside the orders that its B-series proves.

python -m benchmarks.dtesn.convergence
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.reporting import RESULTS
from echoplaned.dtesn import METHODS, Series, Tableau

TIME: Final = 2.0
STEPS: Final = (20, 40, 80)
"""Each number of steps is twice the one before."""
_REFERENCE: Final = ("radau-iia5", 400)
"""So many steps of order 5 with an error constant of 1/7200 are exact to rounding."""
_MAX_ITERATIONS: Final = 100

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Problem:
    """y' = slope(y) from ``start``; the slope takes and returns one state a row."""

    name: str
    slope: Callable[[Values], Values]
    start: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Convergence:
    """Errors at the end, by `STEPS`, and the exact order."""

    method: str
    problem: str
    exact_order: int
    errors: tuple[float, ...]

    @property
    def orders(self) -> tuple[float, ...]:
        """The order that each doubling of the steps shows."""
        return tuple(math.log2(self.errors[i] / self.errors[i + 1]) for i in range(len(self.errors) - 1))

    @property
    def measured_order(self) -> float:
        """The order that the last doubling shows."""
        return self.orders[-1]


def _predators(y: Values) -> Values:
    return np.stack([y[:, 0] * (1.0 - y[:, 1]), y[:, 1] * (y[:, 0] - 1.2)], axis=1)


def _pendulum(y: Values) -> Values:
    return np.stack([y[:, 1], -np.sin(y[:, 0]) - 0.1 * y[:, 1]], axis=1)


PROBLEMS: Final = (
    Problem("Lotka-Volterra", _predators, (1.3, 0.7)),
    Problem("damped pendulum", _pendulum, (1.0, 0.4)),
)
"""Both non-linear, and neither with a solution that a method could hit by luck."""


def solve(tableau: Tableau, problem: Problem, steps: int) -> Values:
    """Return the state at `TIME` after equal steps.

    Stages come from fixed-point iteration until nothing changes: as many turns as there are stages where the method is explicit, and
    where it is implicit it converges for the steps taken here.
    """
    a, b = (np.array(part, dtype=object).astype(np.float64) for part in (tableau.a, tableau.b))
    h, y = TIME / steps, np.array([problem.start])
    for _ in range(steps):
        stages = np.repeat(problem.slope(y), len(b), axis=0)
        for _ in range(_MAX_ITERATIONS):
            before, stages = stages, problem.slope(y + h * (a @ stages))
            if np.array_equal(before, stages):
                break
        y = y + h * (b @ stages)
    return y[0]


def measure() -> tuple[Convergence, ...]:
    """Return every method on every problem."""
    reference, steps = _REFERENCE
    truths = {problem.name: solve(Tableau.named(reference), problem, steps) for problem in PROBLEMS}
    return tuple(_measured(method, problem, truths[problem.name]) for method in METHODS for problem in PROBLEMS)


def _measured(method: str, problem: Problem, truth: Values) -> Convergence:
    tableau = Tableau.named(method)
    errors = tuple(float(np.linalg.norm(solve(tableau, problem, steps) - truth)) for steps in STEPS)
    return Convergence(method, problem.name, Series(tableau, 6).method_order, errors)


def record(found: tuple[Convergence, ...]) -> dict[str, object]:
    """Return what is written: the same on every machine, but for rounding."""
    rows = [
        {
            "method": one.method,
            "problem": one.problem,
            "exact_order": one.exact_order,
            "measured_order": round(one.measured_order, 3),
            "orders": [round(order, 3) for order in one.orders],
            "errors": [float(f"{error:.3e}") for error in one.errors],
        }
        for one in found
    ]
    return {"benchmark": "dtesn-convergence", "time": TIME, "steps": list(STEPS), "rows": rows}


def _table(found: tuple[Convergence, ...]) -> Table:
    table = Table(
        title=f"Order measured from {STEPS[-2]} to {STEPS[-1]} steps over time {TIME:g}, and error at the end"
    )
    for column in (
        "method",
        "exact order",
        *(f"{problem.name}{what}" for problem in PROBLEMS for what in ("", ", error")),
    ):
        table.add_column(column, justify="left" if column == "method" else "right")
    for method in METHODS:
        own = [one for one in found if one.method == method]
        cells = [cell for one in own for cell in (f"{one.measured_order:.3f}", f"{one.errors[-1]:.1e}")]
        table.add_row(method, str(own[0].exact_order), *cells)
    return table


def main() -> None:
    """Measure, print, and write ``benchmarks/results/dtesn-convergence.json``."""
    found = measure()
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "dtesn-convergence.json"
    path.write_text(json.dumps(record(found), indent=2) + "\n", encoding="utf-8")
    Console(width=None if os.isatty(1) else 120).print(_table(found))


if __name__ == "__main__":
    main()
