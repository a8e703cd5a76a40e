"""Ten real rollouts beside a liar by LRS and one by NACK, with honest traffic: the version alone decides each of them."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest

from echoplane.errors import RolledBackError
from echoplaned.testing.loadgen import LoadProcesses
from tests.e2e import e2e_subscriber as s
from tests.e2e import e2e_system as e
from tests.hostile.hostile_reporter import LoadReporter
from tests.hostile.test_reports import two_clusters_are_too_many

MODEL = "believed"
ROLLOUTS = 10
NODE_IDS = (1, 2, 10)
ERRORS_PER_S = 5
SUCCESSES_PER_S = 100_000
STAGES_PERCENT = (10, 50, 100)


@dataclass(frozen=True, slots=True)
class Ended:
    """One rollout: what it was, what it came to, and what callers saw of the new version."""

    version: str
    is_good: bool
    nodes: int
    outcome: str
    reason: str
    seconds: float
    answers: int
    failed: int
    alarms: frozenset[str]

    def line(self) -> str:
        """Write it for the table."""
        kind = "good" if self.is_good else "bad"
        told = f"{self.version:6}{kind:6}{self.nodes:4} ids  {self.outcome.removeprefix('ROLLOUT_OUTCOME_'):12}"
        return f"{told}{self.seconds:7.1f} s  {self.answers:6} answers, {self.failed:4} failed  {self.reason}"


@contextmanager
def lying(system: e.System, version: str, nodes: int, *, errors: int, successes: int) -> Iterator[set[str]]:
    """Report so much a second in all, under so many node ids; yield the alarms that are seen meanwhile."""
    alarms: set[str] = set()
    done = threading.Event()
    name = f"models/{MODEL}/versions/{version}"
    with ExitStack() as stack:
        liars = [stack.enter_context(LoadReporter(system.daemon.address, f"liar-{n}")) for n in range(nodes)]

        def lie() -> None:
            while not done.wait(1.0):
                for number, liar in enumerate(liars):
                    mine = errors // nodes + (number < errors % nodes)
                    liar.say(name, ok=successes // nodes, errors=mine)
                alarms.update(system.client.get_status(timeout_s=60.0).alarms)

        thread = threading.Thread(target=lie)
        thread.start()
        try:
            yield alarms
        finally:
            done.set()
            thread.join()


def roll_out(system: e.System, load: LoadProcesses, number: int) -> Ended:
    """Update to a good version while errors are made up, or to a bad one while successes are; a stranger refuses the routes."""
    is_good, nodes = number % 2 == 0, NODE_IDS[number % len(NODE_IDS)]
    version, source = f"v{number + 1}", ("better" if number % 4 == 0 else "encoder") if is_good else "cut64"
    before, began_s = len(load.samples()), time.monotonic()
    lie = lying(system, version, nodes, errors=ERRORS_PER_S * is_good, successes=SUCCESSES_PER_S * (not is_good))
    with lie as alarms, s.Subscriber(system.daemon.address, f"idle-{number}", MODEL, two_clusters_are_too_many) as idle:
        e.eventually(lambda: idle.accepted.get("ENDPOINT"), e.LOAD_S, "the first routes to be accepted")
        # Time for a machine that is busy with something else; the gates decide as soon as they can.
        policy = e.fast_policy(stages_percent=STAGES_PERCENT, stage_max_s=600.0, prepare_timeout_s=600.0)
        operation = system.update(MODEL, version, source, policy)
        try:
            system.finish(operation, 1200.0)
        except RolledBackError:
            assert not is_good, system.rollout(MODEL)
    took_s = time.monotonic() - began_s
    e.pause(1.0)
    rollout = system.rollout(MODEL)
    answers = [sample for sample in load.samples()[before:] if sample.version == version]
    failed = len(e.failures(answers))
    outcome = e.Outcome.Name(rollout.outcome)
    told = frozenset(alarms)
    return Ended(version, is_good, nodes, outcome, rollout.outcome_reason, took_s, len(answers), failed, told)


@pytest.mark.soak
@pytest.mark.timeout(4 * 3600)
def test_no_liar_decides_ten_real_rollouts(own_system: e.MakeSystem, start_load: e.MakeLoad) -> None:
    """Five good versions come through and five bad ones are rolled back for their own errors; the table is printed."""
    system = own_system()
    system.load(MODEL, "v0")
    load = start_load(system, MODEL, processes=1, rate=30.0, long_share=0.2)
    ended = []
    for number in range(ROLLOUTS):
        ended.append(roll_out(system, load, number))
        print(ended[-1].line(), flush=True)  # noqa: T201 - the soak's result
    bad = [one for one in ended if not one.is_good]
    median = statistics.median(one.answers for one in bad)
    print(f"bad versions: {median:g} answers until they were gone (median), {max(one.answers for one in bad)} at most")  # noqa: T201
    for one in ended:
        wanted = "SUCCEEDED" if one.is_good else "ROLLED_BACK"
        assert one.outcome == f"ROLLOUT_OUTCOME_{wanted}", one
        assert "idle-" not in one.reason, one
        assert one.is_good or one.failed, one
        # A bad version may be gone before what was claimed has to be covered (``claim_audit.SLACK_S``).
        assert not one.is_good or any("load reports are left out" in alarm for alarm in one.alarms), one
    bad_versions = {one.version for one in bad}
    failed = e.failures(load.samples())
    assert {sample.version for sample in failed} <= bad_versions
    assert {sample.kind for sample in failed} == {"long"}
