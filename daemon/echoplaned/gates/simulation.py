"""Whole rollouts in virtual time.

They show what a policy promises under a given traffic, found by trying.

The real gates run on simulated counts: Poisson arrivals, a random draw of the version for each request, load
reports (LRS) once a second and one interval late, worker counters every interval, paired probes at the runner's pace.
False reporters report what never happened.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from echoplaned.core.ids import VersionKey
from echoplaned.core.rollout_state import Evidence, GateVerdict, Rollout, Verdict
from echoplaned.core.spec import RolloutPolicy
from echoplaned.core.state import Model
from echoplaned.gates import evaluation
from echoplaned.gates.claim_audit import ClaimAudit
from echoplaned.gates.clients.collector import ClientsCollector
from echoplaned.gates.evaluation import GateResults, RolloutEvidence
from echoplaned.gates.gate import MakePairs, Observation, Source, Start
from echoplaned.gates.probes.collector import PAIRS_PER_S_IDLE, PAIRS_PER_S_LIVE
from echoplaned.gates.standard import list_gates
from echoplaned.gates.statistics.pairs import PairOutcome
from echoplaned.gates.window import Window
from echoplaned.ports.request_counts import NOTHING, CountedBy, Interval, RequestCounts
from echoplaned.ports.traffic import Caller, Reporter

_SOURCES = (
    Source("LRS", tells_client_errors=False, routed=True),
    Source("WORKER", tells_client_errors=True, routed=False),
)
_GATES = list_gates(None, has_traces=False)
_NOTHING = Interval()
_OK = RequestCounts(ok=1, arrivals=1)
_CLIENT_ERROR = RequestCounts(client_errors=1, arrivals=1)
_SERVER_ERROR = RequestCounts(server_errors=1, arrivals=1)


_NEW, _OLD = VersionKey("m", "v2"), VersionKey("m", "v1")


@dataclass(frozen=True, slots=True)
class FalseReporters:
    """Clients that report what they never sent, in all so many requests a second.

    Attributes:
        nodes: how many ids they go by; each has a stream of its own.
        new_errors_per_s: errors of the new version.
        new_ok_per_s: successes of the new version.
        old_ok_per_s: successes of the old version.
    """

    nodes: int
    new_errors_per_s: float = 0.0
    new_ok_per_s: float = 0.0
    old_ok_per_s: float = 0.0


@dataclass(frozen=True, slots=True)
class SimulatedTraffic:
    """What clients send in a simulation, and how the versions answer.

    Errors are drawn for each request or probe with the given probability.

    Attributes:
        rate_per_s: requests a second of the model, both versions; 0: no traffic.
        new_error: probability of an error of the new version, for each request, in [0, 1].
        old_error: probability of an error of the old version, for each request, in [0, 1].
        client_errors: whether errors are the callers' own (INVALID_ARGUMENT).
        reachable: whether the new version accepts connections; else its share is seen by nobody.
        probes_fail_new: probability that the new version fails a probe, in [0, 1].
        probes_fail_old: probability that the old version fails a probe, in [0, 1].
        share_factor: real share of the new version by its weight; 1: as the weights say.
        false_reporters: who reports beside those who send; None: nobody.
    """

    rate_per_s: float
    new_error: float = 0.0
    old_error: float = 0.0
    client_errors: bool = False
    reachable: bool = True
    probes_fail_new: float = 0.0
    probes_fail_old: float = 0.0
    share_factor: float = 1.0
    false_reporters: FalseReporters | None = None


class SimulationEnding(StrEnum):
    """How a simulated rollout ended."""

    PROMOTED = "PROMOTED"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True, slots=True)
class SimulationOutcome:
    """The end of a simulated rollout.

    Attributes:
        ending: how it ended.
        stage: the last stage, from 1.
        time_s: virtual time from its begin to its end, in seconds.
        new_requests: live requests that the new version answered.
        probe_stages: stages whose errors were judged by probes.
        durations_s: durations of the stages that passed, in seconds.
        failed: the verdict that failed; None: none did.
        left_out: why load reports were not believed in the end; empty: they were.
    """

    ending: SimulationEnding
    stage: int
    time_s: float
    new_requests: int
    probe_stages: int
    durations_s: tuple[float, ...]
    failed: Verdict | None = None
    left_out: str = ""


def simulate(
    policy: RolloutPolicy,
    traffic: SimulatedTraffic,
    random: Random,
    *,
    interval_s: float = 0.5,
    last_stage: int | None = None,
) -> SimulationOutcome:
    """Run one rollout in virtual time.

    Args:
        policy: the rollout's policy.
        traffic: what clients send, and how the versions answer.
        random: source of all randomness.
        interval_s: time between two verdicts, in seconds.
        last_stage: the stage to stop at, from 1 (its expiry is the end), for questions about early stages only;
            None: the policy's last one.
    """
    run = _Run(policy, traffic, random, interval_s)
    for stage in range(1, (last_stage or len(policy.stages_percent)) + 1):
        ending = run.stage(stage)
        if ending is not None:
            return run.outcome(ending, stage)
    return run.outcome(SimulationEnding.PROMOTED, last_stage or len(policy.stages_percent))


class _Reports:
    """What each client has reported so far (the port ``ClientSource``).

    There is one client that sends, and the false reporters.
    """

    def __init__(self, false_reporters: FalseReporters | None) -> None:
        self._false_reporters = false_reporters
        self._honest = Reporter("honest", 0)
        self._reported: dict[VersionKey, dict[Reporter, RequestCounts]] = {_NEW: {}, _OLD: {}}
        self._made_up = 0.0
        self.claim_audit = ClaimAudit()

    def by_client(self, version: VersionKey) -> Mapping[Reporter, RequestCounts]:
        """Return running totals."""
        return self._reported[version]

    def route_only_clients(self, model: str) -> frozenset[Caller]:
        """Return everybody: false reporters have opened route streams as well."""
        return frozenset(reporter.caller for reported in self._reported.values() for reporter in reported)

    def version_clients(self, model: str) -> frozenset[Caller]:
        """Return nobody: all follow the routes."""
        return frozenset()

    def take(self, now_s: float, sent: Interval, counted: Interval) -> Interval:
        """Take a report of what was sent and what false reporters add.

        Returns what is shown of all that was reported so far.
        """
        claims = sent
        self._tell(self._honest, sent)
        false_reporters = self._false_reporters
        if false_reporters is not None:
            span_s, self._made_up = now_s - self._made_up, now_s
            for number in range(1, false_reporters.nodes + 1):
                each = _lie(false_reporters, span_s)
                self._tell(Reporter(f"liar-{number}", number), each)
                claims += each
        self.claim_audit, shown = self.claim_audit.add(now_s, claims, counted)
        return shown

    def _tell(self, reporter: Reporter, said: Interval) -> None:
        for version, counts in ((_NEW, said.new), (_OLD, said.old)):
            reported = self._reported[version]
            reported[reporter] = reported.get(reporter, NOTHING) + counts


def _lie(false_reporters: FalseReporters, span_s: float) -> Interval:
    """Return what one of the false reporters reports for a span.

    It is its part of all that is made up, rounded up.
    """
    errors, new, old = (
        math.ceil(rate * span_s / false_reporters.nodes)
        for rate in (false_reporters.new_errors_per_s, false_reporters.new_ok_per_s, false_reporters.old_ok_per_s)
    )
    return Interval(
        RequestCounts(ok=new, server_errors=errors, arrivals=new + errors, origin=CountedBy.LRS),
        RequestCounts(ok=old, arrivals=old, origin=CountedBy.LRS),
    )


class _Run:
    """One rollout in virtual time."""

    def __init__(self, policy: RolloutPolicy, traffic: SimulatedTraffic, random: Random, interval_s: float) -> None:
        self._policy = policy
        self._traffic = traffic
        self._random = random
        self._interval_s = interval_s
        self._now_s = 0.0
        self._evidence: RolloutEvidence | None = None
        self._lrs_waiting = [_NOTHING, _NOTHING]
        self._reports = _Reports(traffic.false_reporters)
        self._clients = ClientsCollector(self._reports, self._reports, _NEW, _OLD)
        self._ticks = 0
        self._pairs_due = 0.0
        self._next_arrival_s = random.expovariate(traffic.rate_per_s) if traffic.rate_per_s > 0.0 else math.inf
        self._new_requests = 0
        self._last_seen_s = -math.inf
        self._probe_stages = 0
        self._durations: list[float] = []
        self._failed: Verdict | None = None

    def stage(self, stage: int) -> SimulationEnding | None:
        """Run a stage to its end; None if it passed."""
        window = Window(self._policy, stage, stage, self._now_s)
        known = self._evidence
        evidence = self._begin(window) if known is None else evaluation.enter(known, window)
        weight = min(self._policy.stages_percent[stage - 1] / 100.0, 0.999999)
        wanted = _asks_for_pairs(evaluation.weigh(evidence, self._now_s))
        while self._now_s - window.began_s < window.longest_s:
            seen = self._tick(weight, probing=wanted)
            evidence = self._evidence = evaluation.observe(evidence, seen)
            weighed = evaluation.weigh(evidence, self._now_s)
            self._clients.take(weighed.asks)
            verdicts, wanted = weighed.verdicts, _asks_for_pairs(weighed)
            self._failed = next((v for v in verdicts if v.verdict is GateVerdict.FAIL), None)
            if self._failed is not None:
                return SimulationEnding.FAILED
            if all(v.verdict is GateVerdict.PASS for v in verdicts):
                self._probe_stages += verdicts[0].evidence is Evidence.PROBES
                self._durations.append(self._now_s - window.began_s)
                return None
        return SimulationEnding.EXPIRED

    def outcome(self, ending: SimulationEnding, stage: int) -> SimulationOutcome:
        """Say how it ended."""
        return SimulationOutcome(
            ending,
            stage,
            self._now_s,
            self._new_requests,
            self._probe_stages,
            tuple(self._durations),
            self._failed,
            self._reports.claim_audit.left_out,
        )

    def _begin(self, window: Window) -> RolloutEvidence:
        rollout = Rollout("simulated", "m", "v1", "v2", self._policy, "")
        return evaluation.begin(_GATES, Start(window, _SOURCES, Model("m"), rollout))

    def _tick(self, weight: float, *, probing: bool) -> Observation:
        self._now_s += self._interval_s
        self._ticks += 1
        worker = self._requests(weight * self._traffic.share_factor)
        self._new_requests += worker.new.requests
        if worker.seen:
            self._last_seen_s = self._now_s
        late, running = self._lrs_waiting
        running += worker
        report = _NOTHING
        if self._ticks % max(1, round(1.0 / self._interval_s)) == 0:
            report, late, running = late, running, _NOTHING
        self._lrs_waiting = [late, running]
        sent = Interval(_as_lrs(report.new), _as_lrs(report.old))
        lrs = self._reports.take(self._now_s, sent, worker)
        pairs = self._pairs() if probing else ()
        left_out = (("LRS", self._reports.claim_audit.left_out),) if self._reports.claim_audit.left_out else ()
        seen = Observation(self._now_s, (("LRS", lrs), ("WORKER", worker)), weight, 1, 0, pairs, left_out=left_out)
        return self._clients.add_to(seen)

    def _requests(self, share: float) -> Interval:
        new, old = RequestCounts(), RequestCounts()
        while self._next_arrival_s <= self._now_s:
            self._next_arrival_s += self._random.expovariate(self._traffic.rate_per_s)
            if self._random.random() >= share:
                old += self._answer(self._traffic.old_error)
            elif self._traffic.reachable:
                new += self._answer(self._traffic.new_error)
        return Interval(new, old)

    def _answer(self, error: float) -> RequestCounts:
        if self._random.random() >= error:
            return _OK
        return _CLIENT_ERROR if self._traffic.client_errors else _SERVER_ERROR

    def _pairs(self) -> tuple[PairOutcome, ...]:
        live = self._now_s - self._last_seen_s < 5.0
        self._pairs_due += self._interval_s * (PAIRS_PER_S_LIVE if live else PAIRS_PER_S_IDLE)
        count, self._pairs_due = int(self._pairs_due), self._pairs_due % 1.0
        return tuple(
            PairOutcome(
                self._random.random() >= self._traffic.probes_fail_new,
                self._random.random() >= self._traffic.probes_fail_old,
            )
            for _ in range(count)
        )


def _as_lrs(counts: RequestCounts) -> RequestCounts:
    return RequestCounts(counts.ok, 0, counts.errors, counts.arrivals, origin=CountedBy.LRS)


def _asks_for_pairs(weighed: GateResults) -> bool:
    return any(isinstance(ask, MakePairs) for ask in weighed.asks)
