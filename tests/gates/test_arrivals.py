"""The gate ``arrivals``: which requests of the old version say that the new one should have had some."""

from __future__ import annotations

from random import Random

import pytest

from echoplaned.core.ids import VersionKey
from echoplaned.core.rollout_state import GateVerdict, Rollout, Verdict
from echoplaned.core.spec import RolloutPolicy
from echoplaned.core.state import Model
from echoplaned.gates.claim_audit import ClaimAudit
from echoplaned.gates.clients.collector import ClientsCollector
from echoplaned.gates.collector import RolloutContext
from echoplaned.gates.counting import CountingOptions, CountsCollector
from echoplaned.gates.evaluation import RolloutEvidence, observe, weigh
from echoplaned.gates.gate import Observation, Source
from echoplaned.gates.window import Window
from echoplaned.ports.request_counts import NOTHING, Interval, RequestCounts
from echoplaned.ports.traffic import Caller, Reporter
from echoplaned.xds.conversations import ConversationLedger
from tests.gates.conversation_world import NEW, OLD, Told
from tests.gates.judging import begin, verdict

LRS = Source("LRS", tells_client_errors=False, routed=True, reporting=True)
WORKER = Source("WORKER", tells_client_errors=True, routed=False, reporting=True)


def start(stage: int) -> RolloutEvidence:
    """Return the evidence at the begin of a stage."""
    return begin(Window(RolloutPolicy(), stage, stage, 0.0), (LRS, WORKER))


def silent(stage: int, old: RequestCounts, intervals: int = 40) -> Verdict:
    """Return what is said after half seconds in which the old version alone had requests."""
    evidence, weight = start(stage), RolloutPolicy().stages_percent[stage - 1] / 100.0
    said = Verdict("arrivals", GateVerdict.PASS, "")
    for number in range(intervals):
        now_s = 3.0 + 0.5 * number
        counted = (("LRS", Interval(NOTHING, old)), ("WORKER", Interval(NOTHING, old)))
        evidence = observe(evidence, Observation(now_s, counted, weight, subscribers=1))
        said = verdict(weigh(evidence, now_s), "arrivals")
        if said.verdict is GateVerdict.FAIL:
            break
    return said


class Clients:
    """One client that dials the old version by its own target, and one that follows the routes (a ``ClientSource``)."""

    claim_audit = ClaimAudit()
    dialling, routed = Reporter("dialling", 1), Reporter("routed", 2)

    def __init__(self, reachable: bool) -> None:
        self.reachable = reachable
        self.counts = {key: dict.fromkeys((self.dialling, self.routed), NOTHING) for key in (NEW, OLD)}

    def by_client(self, version: VersionKey) -> dict[Reporter, RequestCounts]:
        """Return running totals."""
        return self.counts[version]

    def route_only_clients(self, model: str) -> frozenset[Caller]:
        """Return who follows the routes."""
        return frozenset({self.routed.caller})

    def version_clients(self, model: str) -> frozenset[Caller]:
        """Return who does not."""
        return frozenset({self.dialling.caller})

    def send(self, random: Random, dialled: int, routed: int) -> Interval:
        """Return what both sent in half a second, at 5 %."""
        one, new = RequestCounts(ok=1, arrivals=1), sum(random.random() < 0.05 for _ in range(routed))
        sent = {NEW: NOTHING, OLD: NOTHING}
        for version, reporter, count in (
            (OLD, self.dialling, dialled),
            (OLD, self.routed, routed - new),
            (NEW, self.routed, new if self.reachable else 0),
        ):
            for _ in range(count):
                sent[version] += one
                self.counts[version][reporter] += one
        return Interval(sent[NEW], sent[OLD])


def dialled(seed: int, dialled_requests: int, routed_requests: int, *, reachable: bool, intervals: int) -> Verdict:
    """Return what is said in stage 1 where one client dials the old version by its own target."""
    source, random, evidence = Clients(reachable), Random(seed), start(1)
    collector = ClientsCollector(source, source, NEW, OLD)
    said = Verdict("arrivals", GateVerdict.PASS, "")
    for number in range(intervals):
        now_s = 3.0 + 0.5 * number
        sent = source.send(random, dialled_requests, routed_requests)
        seen = Observation(now_s, (("LRS", sent), ("WORKER", sent)), 0.05, subscribers=2)
        evidence = observe(evidence, collector.add_to(seen))
        weighed = weigh(evidence, now_s)
        collector.take(weighed.asks)
        said = verdict(weighed, "arrivals")
        if said.verdict is GateVerdict.FAIL:
            break
    return said


def test_requests_by_a_versions_own_target_are_no_silence() -> None:
    """A busy client that dials the old version, and nobody or few who follow the routes: the new version is not missed."""
    assert dialled(1, 25, 0, reachable=True, intervals=120).verdict is GateVerdict.PASS
    ended = [dialled(seed, 25, 2, reachable=True, intervals=120).verdict for seed in range(20)]
    assert GateVerdict.FAIL not in ended


def test_a_version_that_nobody_reaches_fails_beside_clients_that_dial_versions() -> None:
    """Those who follow the routes do not reach it: that others never try excuses nothing."""
    failed = dialled(1, 25, 10, reachable=False, intervals=240)
    assert failed.verdict is GateVerdict.FAIL
    assert failed.reason.startswith("ARRIVALS_MISSING")


@pytest.mark.parametrize("stage", [4, 6])
def test_streams_that_only_end_in_a_silence_had_no_choice_in_it(stage: int) -> None:
    """A hundred streams of minutes that began at the old version end in a later stage: nobody has missed the new one."""
    assert silent(stage, RequestCounts(ok=4)).verdict is GateVerdict.PASS
    assert silent(stage, RequestCounts(ok=4, arrivals=4)).verdict is GateVerdict.FAIL


def test_requests_that_only_begin_are_waited_for() -> None:
    """Until they end nobody knows whether they drew a version: they may be turns of conversations."""
    assert silent(4, RequestCounts(arrivals=4)).verdict is GateVerdict.PASS


def test_rounds_of_conversations_at_the_old_version_are_no_silence() -> None:
    """Forty agents that stay at the old version take turns of 6 s in rounds: that they go on says nothing of the new one."""
    now_s = 1000.0
    worker, lrs, ledger = Told(), Told(), ConversationLedger(lambda: now_s)
    rollout = Rollout("r", "m", "v1", "v2", RolloutPolicy(), "op")
    context = RolloutContext(Model("m"), rollout, lambda: None, lambda: now_s, lambda _: None, lambda: None)
    counts = CountsCollector({"LRS": lrs, "WORKER": worker}, None, CountingOptions(conversations=ledger), context)
    evidence = begin(Window(RolloutPolicy(), 1, 1, now_s), (LRS, WORKER))
    for tick in range(1200):  # of half a second; a round begins every 20 s
        now_s += 0.5
        for agent in range(40):
            if tick % 40 == 0:
                _count(worker, lrs, RequestCounts(arrivals=1))
            elif tick % 40 == 12:
                _count(worker, lrs, RequestCounts(ok=1))
                ledger.add(OLD, f"agent {agent}", RequestCounts(ok=1))
        evidence = observe(evidence, counts.add_to(Observation(now_s, weight=0.05, subscribers=1)))
        said = verdict(weigh(evidence, now_s), "arrivals")
        assert said.verdict is not GateVerdict.FAIL, (now_s, said)


def _count(worker: Told, lrs: Told, counts: RequestCounts) -> None:
    worker.add(OLD, counts)
    lrs.add(OLD, counts)
