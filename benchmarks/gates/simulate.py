"""Simulates rollouts and prints what the gates reach: ``python -m benchmarks.gates.simulate --help``.

The real evidence and the real judge run on simulated counts (``echoplaned.gates.simulation``); everything is seeded. A table goes to
the standard output, and everything in it to a JSON file if one is named. How often equal versions are rolled back, by an alarm or
because a stage's time ran out, is printed with its two-sided 95 % Clopper-Pearson interval; a bar counts as met only if the
one-sided 95 % limit shows it, which for 1 % takes 299 runs without one. One run takes about a second of CPU.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random

from echoplaned.core.spec import RolloutPolicy
from echoplaned.gates.simulation import SimulatedTraffic, SimulationEnding, SimulationOutcome, simulate
from echoplaned.gates.statistics.noninferiority import (
    Rate,
    difference_upper_bound,
    level,
    lower_bound,
    requests_at_least,
    upper_bound,
)

STANDARD = RolloutPolicy()
DEMO = RolloutPolicy(
    name="demo", stage_min_s=4.0, stage_max_s=180.0, soak_s=8.0, max_error_increase=0.08, probe_count=30
)
_WORDS = {True: "met", False: "MISSED", None: "too few runs to say"}
SEED = 50_000_000  # far from the seeds with which the parameters were chosen (below 41 million)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. ``bar``: what was promised; ``met``: None where nothing was, or too few runs to say.

    ``requests_p95``: of the new version. Where a version shall be found, a run that did not find it counts as one that never
    would: None if these are more than 5 %, or for the median more than half.
    """

    name: str
    runs: int
    promoted: int
    failed: int
    expired: int
    requests_median: int | None
    requests_p95: int | None
    time_median_s: float
    time_p95_s: float
    bar: str = ""
    met: bool | None = None

    @property
    def back_interval(self) -> tuple[float, float]:
        """The 95 % Clopper-Pearson interval of the chance to be rolled back."""
        seen = Rate(self.failed + self.expired, self.runs)
        return lower_bound(seen, 0.025), upper_bound(seen, 0.025)

    @property
    def alarm_interval(self) -> tuple[float, float]:
        """The same of the chance of an alarm: a FAIL, not a stage that ran out of time."""
        seen = Rate(self.failed, self.runs)
        return lower_bound(seen, 0.025), upper_bound(seen, 0.025)


@dataclass(frozen=True, slots=True)
class Case:
    """A question. ``share``: part of the number of runs that was asked for, for questions that take long."""

    name: str
    group: str
    policy: RolloutPolicy
    traffic: SimulatedTraffic
    bar: str = ""
    meets: Callable[[Row], bool | None] | None = None
    last_stage: int | None = None
    share: float = 1.0


def _rolled_back_at_most_one_percent(row: Row) -> bool | None:
    """Say whether the runs show it at 95 %, or show the opposite; None: too few runs to say."""
    seen = Rate(row.failed + row.expired, row.runs)
    if upper_bound(seen, 0.05) <= 0.01:
        return True
    return False if lower_bound(seen, 0.05) > 0.01 else None


def _requests_at_most(most: int) -> Callable[[Row], bool]:
    return lambda row: row.requests_p95 is not None and row.requests_p95 <= most


def _never_promotes(row: Row) -> bool:
    return row.promoted == 0


def cases() -> list[Case]:
    """Return all questions."""
    asked = [
        Case(
            f"equal versions, {rate:g} requests/s, {error:.1%} errors",
            "equal",
            STANDARD,
            SimulatedTraffic(rate, new_error=error, old_error=error),
            "rolled back <= 1 %",
            _rolled_back_at_most_one_percent,
        )
        for rate, error in ((0.1, 0.005), (1.0, 0.005), (7.0, 0.005), (10.0, 0.005), (100.0, 0.005), (100.0, 0.03))
    ]
    for rate in (10.0, 20.0, 50.0, 100.0):
        for error, most in ((1.0, 5), (0.2, 50), (0.05, 350)):
            traffic = SimulatedTraffic(rate, new_error=error, old_error=0.005)
            name = f"{error:.0%} errors at 5 %, {rate:g} requests/s"
            bar, meets = f"p95 <= {most} requests", _requests_at_most(most)
            asked.append(Case(name, "found", STANDARD, traffic, bar, meets, last_stage=1, share=0.3))
    short = replace(STANDARD, stage_max_s=30.0)
    silent = SimulatedTraffic(0.0, probes_fail_new=1.0, probes_fail_old=1.0)
    asked.append(
        Case("no traffic, no probe answered", "silent", short, silent, "none promoted in these runs", _never_promotes)
    )
    asked.append(Case("no traffic, probes pass", "silent", STANDARD, SimulatedTraffic(0.0), share=0.02))
    unreachable = SimulatedTraffic(50.0, reachable=False)
    asked.append(Case("nobody reaches the new version, 50 requests/s", "silent", STANDARD, unreachable, share=0.05))
    asked += [
        Case(f"demo: good, {rate:g} requests/s", "demo", DEMO, SimulatedTraffic(rate), share=0.05)
        for rate in (20.0, 35.0, 50.0)
    ]
    cut = SimulatedTraffic(20.0, new_error=0.1, client_errors=True)
    asked += [
        Case(f"demo: 10 % refused, {rate:g} requests/s", "demo", DEMO, replace(cut, rate_per_s=rate), share=0.2)
        for rate in (20.0, 35.0, 50.0)
    ]
    return asked


def run(case: Case, runs: int, first: int, interval_s: float) -> Row:
    """Simulate one case; run number n always has the same seed."""
    count = max(1, round(runs * case.share))
    outcomes: list[SimulationOutcome] = []
    for n in range(first, first + count):
        random = Random(SEED + n)
        outcomes.append(simulate(case.policy, case.traffic, random, interval_s=interval_s, last_stage=case.last_stage))
    endings = [outcome.ending for outcome in outcomes]
    found = case.group == "found"
    requests = sorted(
        math.inf if found and outcome.ending is not SimulationEnding.FAILED else outcome.new_requests
        for outcome in outcomes
    )
    times = sorted(outcome.time_s for outcome in outcomes)
    late = min(count - 1, int(0.95 * count))
    row = Row(
        case.name,
        count,
        endings.count(SimulationEnding.PROMOTED),
        endings.count(SimulationEnding.FAILED),
        endings.count(SimulationEnding.EXPIRED),
        None if math.isinf(requests[count // 2]) else int(requests[count // 2]),
        None if math.isinf(requests[late]) else int(requests[late]),
        times[count // 2],
        times[late],
        case.bar,
    )
    return replace(row, met=case.meets(row)) if case.meets is not None else row


def wrong_passes(old_rate: float, margin: float, share: float, runs: int) -> float:
    """Return how often a version exactly at the margin passes, looked at after each of 500 requests, at a confidence of 95 %."""
    random = Random(SEED)
    return sum(_passes(random, old_rate, margin, round((1 - share) / share)) for _ in range(runs)) / runs


def _passes(random: Random, old_rate: float, margin: float, old_per_new: int) -> bool:
    new_errors = old_errors = 0
    for n in range(1, 501):
        new_errors += random.random() < old_rate + margin
        old_errors += sum(random.random() < old_rate for _ in range(old_per_new))
        new, old = Rate(new_errors, n), Rate(old_errors, n * old_per_new)
        near = n >= 0.9 * requests_at_least(new, old, margin, 0.95)
        if near and difference_upper_bound(new, old, level(0.95, new_errors)) < margin:
            return True
    return False


def main() -> int:
    """Run what was asked for; 1 if a bar was missed."""
    asked = _arguments()
    print(f"{'case':52} {'runs':>6} {'prom.':>6} {'failed':>6} {'exp.':>5} {'requests':>11} {'seconds':>12}  bar")
    print(f"{'':52} {'':6} {'':6} {'':6} {'':5} {'median p95':>11} {'median p95':>12}")
    rows: list[Row] = []
    for case in cases():
        if asked.group in (None, case.group) and asked.only in case.name:
            began_s = time.monotonic()
            rows.append(run(case, asked.runs, asked.first, asked.interval))
            _show(rows[-1], case.group, time.monotonic() - began_s)
    margins = _margins(asked.runs) if asked.group in (None, "margin") else {}
    if asked.json is not None:
        results = {
            "arguments": {"runs": asked.runs, "first": asked.first, "interval_s": asked.interval},
            "rows": [{**asdict(row), "back_interval": row.back_interval} for row in rows],
            "wrong_passes": margins,
        }
        asked.json.write_text(json.dumps(results, indent=2) + "\n")
    return 1 if any(row.met is False for row in rows) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What the gates reach, by simulation.")
    parser.add_argument("--runs", type=int, default=300, help="rollouts for each case (some take a part of it)")
    parser.add_argument("--first", type=int, default=0, help="number of the first run, to split a long one")
    parser.add_argument("--group", choices=("equal", "found", "silent", "demo", "margin"), help="one group only")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--interval", type=float, default=0.5, help="seconds between two looks")
    parser.add_argument("--json", type=Path, help="write the results here")
    return parser.parse_args()


def _show(row: Row, group: str, took_s: float) -> None:
    bar = f"{row.bar}: {_WORDS[row.met]}" if row.bar else ""
    median, p95 = ("-" if each is None else str(each) for each in (row.requests_median, row.requests_p95))
    print(
        f"{row.name:52} {row.runs:6} {row.promoted:6} {row.failed:6} {row.expired:5} "
        f"{median:>6}{p95:>5} {row.time_median_s:7.0f}{row.time_p95_s:5.0f}  {bar}  ({took_s:.0f} s)",
        flush=True,
    )
    if group == "equal":
        back, alarm = row.back_interval, row.alarm_interval
        print(
            f"{'':4}rolled back {(row.failed + row.expired) / row.runs:.2%} [{back[0]:.2%}, {back[1]:.2%}], "
            f"of these by an alarm {row.failed / row.runs:.2%} [{alarm[0]:.2%}, {alarm[1]:.2%}]",
            flush=True,
        )


def _margins(runs: int) -> dict[str, float]:
    margins: dict[str, float] = {}
    for old_rate, margin, share in ((0.0, 0.05, 0.5), (0.01, 0.05, 0.2), (0.05, 0.05, 0.5)):
        name = f"old {old_rate:.0%}, margin {margin:.0%}, share {share:.0%}"
        margins[name] = wrong_passes(old_rate, margin, share, 2 * runs)
        print(f"wrong passes of a version at the margin, {name}: {margins[name]:.2%} (5 % allowed)", flush=True)
    return margins


if __name__ == "__main__":
    sys.exit(main())
