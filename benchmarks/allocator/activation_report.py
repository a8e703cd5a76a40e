"""The table of steps by instruction set, and many drawn shapes against their upper bounds.

Run ``python -m benchmarks.allocator.activations``. Instruction sets that this CPU does not have are named and left out.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Final

from benchmarks.allocator.activation_runs import LIMITED, Case, Outcome, Runner, possible, runner
from benchmarks.allocator.activations import CARRIED, FAMILIES, WITHOUT_INT8
from benchmarks.reporting import RESULTS, machine
from echoplaned.core.cpu_isa import CpuIsa

DRAWN: Final = 1_000
_FILE: Final = RESULTS / "allocator-activations.json"
_PAIRS: Final = [
    (family, dtype.value, stored.value)
    for family in FAMILIES
    for dtype, stored in CARRIED
    if dtype.value != "INT8" or family not in WITHOUT_INT8
]


@dataclass(frozen=True, slots=True)
class Measured:
    """One case under one instruction set."""

    isa: CpuIsa
    case: Case
    outcome: Outcome

    @property
    def violates(self) -> bool:
        """Whether more was allocated than the plan's upper bound."""
        return self.outcome.found > self.outcome.upper_bytes


@dataclass(frozen=True, slots=True)
class Summary:
    """Drawn shapes of one instruction set and dtype.

    Attributes:
        isa: the instruction set.
        weights: what weights are held and were stored in.
        shapes: how many were drawn.
        exact: of them, planned to the byte.
        violations: of them, above the upper bound.
        median_upper_by_found: the bound by what was measured.
        worst_upper_by_found: the widest bound.
    """

    isa: str
    weights: str
    shapes: int
    exact: int
    violations: int
    median_upper_by_found: float
    worst_upper_by_found: float


def table(runners: Sequence[tuple[CpuIsa, Runner]], seed: int) -> list[Measured]:
    """Measure one drawn shape of every family, dtype and instruction set, and print each."""
    rows = []
    for isa, measuring in runners:
        for family, dtype, stored in _PAIRS:
            case = Case(family, dtype, stored, seed, padded=True)
            row = Measured(isa, case, measuring.measure(case))
            rows.append(row)
            print(_line(row), flush=True)
    return rows


def drawn_shapes(runners: Sequence[tuple[CpuIsa, Runner]], seed: int, count: int) -> list[Measured]:
    """Measure shapes drawn over instruction sets, families and dtypes; print those above their bound."""
    rng, rows = random.Random(seed), []
    for _ in range(count):
        isa, measuring = rng.choice(runners)
        family, dtype, stored = rng.choice(_PAIRS)
        case = Case(family, dtype, stored, rng.randrange(2**32), padded=rng.random() < 0.5)
        row = Measured(isa, case, measuring.measure(case))
        rows.append(row)
        if row.violates:
            print(f"ABOVE ITS BOUND: {_line(row)} {row.outcome.shape}", flush=True)
    return rows


def summarise(rows: Sequence[Measured]) -> list[Summary]:
    """Return the drawn shapes by instruction set and dtype."""
    keys = dict.fromkeys((row.isa, row.case.dtype, row.case.stored) for row in rows)
    found = []
    for isa, dtype, stored in sorted(keys):
        outcomes = [row.outcome for row in rows if (row.isa, row.case.dtype, row.case.stored) == (isa, dtype, stored)]
        ratios = [one.upper_bytes / one.found for one in outcomes]
        found.append(
            Summary(
                isa.value,
                dtype if dtype == stored else f"{dtype} from {stored}",
                len(outcomes),
                sum(one.found == one.bytes for one in outcomes),
                sum(one.found > one.upper_bytes for one in outcomes),
                round(statistics.median(ratios), 4),
                round(max(ratios), 4),
            )
        )
    return found


def _line(row: Measured) -> str:
    case, one = row.case, row.outcome
    weights = case.dtype if case.dtype == case.stored else f"{case.dtype} from {case.stored}"
    return (
        f"{row.isa:17s} {case.architecture:20s} {weights:14s} planned {one.bytes:>11,} "
        f"upper {one.upper_bytes:>11,} measured {one.found:>11,}"
    )


def main() -> None:
    """Print both, and write them to ``results/allocator-activations.json``; exits with 1 where a bound was passed."""
    seed, load = random.SystemRandom().randrange(2**32), os.getloadavg()[0]
    lacking = [isa.value for isa in LIMITED if isa not in possible()]
    print(f"seed {seed}; this CPU does not have: {', '.join(lacking) or 'none'}", flush=True)
    with ExitStack() as stack:
        runners = [(isa, stack.enter_context(runner(isa))) for isa in possible()]
        rows = table(runners, seed)
        drawn = drawn_shapes(runners, seed, DRAWN)
    violations = sum(row.violates for row in (*rows, *drawn))
    summaries = summarise(drawn)
    for one in summaries:
        print(
            f"{one.isa:17s} {one.weights:14s} {one.shapes:4d} shapes, {one.exact:4d} to the byte, {one.violations} above the bound"
        )
    print(f"{len(drawn)} drawn shapes; above the upper bound: {violations}")
    content = {
        "seed": seed,
        "machine": asdict(machine(load)),
        "not_measured": lacking,
        "violations": violations,
        "drawn": [asdict(one) for one in summaries],
        "table": [
            {
                "isa": row.isa.value,
                "architecture": row.case.architecture,
                "dtype": row.case.dtype,
                "stored": row.case.stored,
            }
            | {"bytes": row.outcome.bytes, "upper_bytes": row.outcome.upper_bytes, "measured": row.outcome.found}
            for row in rows
        ],
    }
    _FILE.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if violations:
        sys.exit(1)
