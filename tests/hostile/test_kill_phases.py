"""Workers killed, or stopped, in every phase of a rollout under traffic: it ends, the model serves, and what clients saw is printed.

``ECHOPLANE_KILL_CASES``: only the cases whose names hold one of these words, apart by commas.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import pytest

from echoplane.errors import EchoplaneError
from echoplaned.testing.loadgen import LoadProcesses
from echoplaned.worker_contract.record import WorkerPhase, read_records
from tests.e2e import e2e_system as e
from tests.hostile.test_hangs import SERVING

MODEL: Final = "killed"
REPLICAS: Final = 2
RATE_PER_S: Final = 20.0
MAX_FAILED: Final = 60
"""Calls in flight in a killed process, and those sent until its endpoint has gone: as in the test of one killed worker, with room."""

MAX_FAILED_STOPPED: Final = 200
"""A stopped process answers nobody, and is found by its silence: its half of the calls waits for their deadlines meanwhile."""

PERCENT: Final = (10, 50, 100)
_CATCH_S: Final = 0.01
_END_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Case:
    """What is done to whom, and when. ``reach`` returns once the rollout is there; the pids are asked for after it."""

    name: str
    signal: int
    victims: tuple[str, ...]
    reach: Callable[[e.System, str], None]


def starting(phase: WorkerPhase) -> Callable[[e.System, str], None]:
    """Return what waits until a worker of the new version is so far with its start."""

    def reach(system: e.System, version: str) -> None:
        def there() -> bool:
            mine = [r for r in read_records(system.daemon.state_dir) if r.instance.startswith(f"{MODEL}/{version}#")]
            return any(record.phase is phase for record in mine)

        e.eventually(there, e.LOAD_S, f"a worker that is {phase}", _CATCH_S)

    return reach


def in_phase(phase: int, stage: int = 0) -> Callable[[e.System, str], None]:
    """Return what waits until the rollout is there."""

    def reach(system: e.System, version: str) -> None:
        del version
        there = lambda: ((r := system.rollout(MODEL)).phase == phase and r.stage >= stage) or r.outcome  # noqa: E731
        e.eventually(there, e.LOAD_S, f"phase {e.Phase.Name(phase)}", _CATCH_S)

    return reach


def reverting(system: e.System, version: str) -> None:
    """Roll back by hand at the second stage, so that the traffic is on its way back."""
    in_phase(e.Phase.ROLLOUT_PHASE_OBSERVING, 2)(system, version)
    system.client.abort_rollout(system.rollout(MODEL).name, "a test of crashes")


_POINTS: Final[dict[str, Callable[[e.System, str], None]]] = {
    "LOADING": starting(WorkerPhase.LOADING),
    "PROBING": starting(WorkerPhase.READY),
    "OBSERVING 1": in_phase(e.Phase.ROLLOUT_PHASE_OBSERVING, 1),
    "OBSERVING 2": in_phase(e.Phase.ROLLOUT_PHASE_OBSERVING, 2),
    "OBSERVING 3": in_phase(e.Phase.ROLLOUT_PHASE_OBSERVING, 3),
    "SOAKING": in_phase(e.Phase.ROLLOUT_PHASE_SOAKING),
    "RELEASING": in_phase(e.Phase.ROLLOUT_PHASE_RELEASING),
    "REVERTING": reverting,
}
CASES: Final = [
    *(
        Case(f"kill {who} {at}", signal.SIGKILL, (who,), reach)
        for at, reach in _POINTS.items()
        for who in ("new", "old")
    ),
    *(
        Case(f"stop {'+'.join(who)} OBSERVING 2", signal.SIGSTOP, who, _POINTS["OBSERVING 2"])
        for who in (("new",), ("old",), ("new", "old"))
    ),
]


def pids_of(system: e.System, version: str) -> list[int]:
    """Return the workers of a version that live, by their own records: also one that has not reported yet."""
    records = read_records(system.daemon.state_dir)
    return sorted(record.pid for record in records if record.instance.startswith(f"{MODEL}/{version}#"))


def strike(system: e.System, case: Case, versions: dict[str, str]) -> float | None:
    """Send the signal to one worker of each version that is meant; return when, None where none was left."""
    struck_s = None
    for who in case.victims:
        for pid in pids_of(system, versions[who])[:1]:
            os.kill(pid, case.signal)
            struck_s = time.time()
    return struck_s


def run(system: e.System, load: LoadProcesses, case: Case, number: int) -> str:
    """Roll out, strike, wait for the end, and return the line of the table."""
    old = system.client.get_model(MODEL).serving_version.rpartition("/")[2]
    new, before = f"v{number}", len(load.samples())
    policy = e.fast_policy(stages_percent=PERCENT, soak_s=4.0)
    operation = system.update(MODEL, new, "better" if number % 2 else "encoder", policy, replicas=REPLICAS)
    case.reach(system, new)
    phase = e.Phase.Name(system.rollout(MODEL).phase).removeprefix("ROLLOUT_PHASE_")
    struck_s = strike(system, case, {"new": new, "old": old})
    # Rolled back, or failed before it began: what it came to is in the rollout.
    with suppress(EchoplaneError):
        system.finish(operation, _END_S)
    rollout = system.rollout(MODEL)
    outcome = e.Outcome.Name(rollout.outcome).removeprefix("ROLLOUT_OUTCOME_")
    check_end(system, new if outcome == "SUCCEEDED" else old)
    e.pause(1.0)
    samples = load.samples()[before:]
    failed = e.failures(samples)
    last_s = max((s.time_s - s.latency_ms / 1000 - (struck_s or s.time_s) for s in failed), default=0.0)
    codes = dict(Counter(sample.code for sample in failed))
    assert len(failed) <= (MAX_FAILED if case.signal == signal.SIGKILL else MAX_FAILED_STOPPED), (case, codes)
    missed = "" if struck_s else " (it had gone)"
    return (
        f"{case.name:24} in {phase:10}{missed} {outcome:12} {len(failed):4} of {len(samples):5} failed {codes}, "
        f"last sent {last_s:.1f} s after  {rollout.outcome_reason}"
    )


def check_end(system: e.System, serving: str) -> None:
    """One version serves, with all its workers and all the traffic; of the other one none is left."""

    def settled() -> bool:
        if system.client.get_health(MODEL).state != SERVING:
            return False
        versions = {v.name.rpartition("/")[2]: v for v in system.client.list_versions(MODEL)}
        alive = {name for name, version in versions.items() if version.instances}
        return alive == {serving} and versions[serving].weight_ppm == 1_000_000

    e.eventually(settled, e.LOAD_S, f"{serving} to serve alone")
    assert system.client.get_model(MODEL).serving_version == f"models/{MODEL}/versions/{serving}"


@pytest.mark.soak
@pytest.mark.timeout(2 * 3600)
def test_every_phase(own_system: e.MakeSystem, start_load: e.MakeLoad) -> None:
    """Two workers a version at 20 requests a second: one is killed at each point, and only calls around that moment fail."""
    words = os.environ.get("ECHOPLANE_KILL_CASES", "").split(",")
    system = own_system()
    system.load(MODEL, "v0", replicas=REPLICAS)
    load = start_load(system, MODEL, processes=1, rate=RATE_PER_S, long_share=0.0)
    for number, case in enumerate(CASES, start=1):
        if any(word in case.name for word in words):
            print(run(system, load, case, number), flush=True)  # noqa: T201 - the soak's result
