"""Everything that is known of one rollout: what lasts for all of it, and what belongs to the window."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from echoplaned.core.spec import RolloutPolicy
from echoplaned.gates import arrivals, clients, error_eprocess, health, probes
from echoplaned.gates.arrivals import ArrivalEvidence
from echoplaned.gates.clients import ClientsEvidence, ClientsSeen
from echoplaned.gates.counts import Interval
from echoplaned.gates.echo import evidence as echo
from echoplaned.gates.echo.evidence import EchoEvidence, EchoSeen, EchoSubject
from echoplaned.gates.error_eprocess import ErrorTest, SourceEvidence
from echoplaned.gates.health import Health
from echoplaned.gates.probes import PairEvidence, PairOutcome
from echoplaned.ports.traffic import Reporter

STALE_AFTER_S = 10.0
STALE_AFTER_REQUESTS = 10
"""A source is stale that was silent for so long while another one counted at least so many requests."""

SIDE_GATE_PART = 0.1
"""The arrivals, the probes, and the errors and the silence of single clients may each fail a good version with this part of the
policy's alpha, beside the error gate's own."""


@dataclass(frozen=True, slots=True)
class Source:
    """A source of counts. ``routed``: it sees exactly the traffic that the routes steer. ``spoken``: it has counted this model before."""

    name: str
    tells_client_errors: bool
    routed: bool
    spoken: bool = False


@dataclass(frozen=True, slots=True)
class Window:
    """A span of one stage under one set of weights. ``began_s``: seconds since the epoch, when its routes were acknowledged."""

    policy: RolloutPolicy
    stage: int
    number: int
    began_s: float
    soaking: bool = False

    @property
    def extended(self) -> bool:
        """Whether the stage asks for twice the time and for paired probes."""
        if self.soaking or not 1 <= self.stage <= len(self.policy.stages_percent):
            return False
        return self.policy.stages_percent[self.stage - 1] in self.policy.extended_stages_percent

    @property
    def minimum_s(self) -> float:
        """Shortest time before it may pass."""
        return self.policy.stage_min_s * (2.0 if self.extended else 1.0)

    @property
    def error_test(self) -> ErrorTest:
        """The error gate's parameters."""
        return ErrorTest(self.policy.alpha, self.policy.slo_error_rate)


@dataclass(frozen=True, slots=True)
class Observation:
    """What one interval brought. ``weight``: the new version's acknowledged share; None: not acknowledged by everybody.

    ``intervals``: by source name. ``subscribers``: of the model; ``stale_subscribers``: of these, silent ones.
    ``clients``: the load reports client by client; ``steered``: see ``ClientsSeen``. ``echo``: what tells of behaviour.
    """

    now_s: float
    intervals: tuple[tuple[str, Interval], ...] = ()
    weight: float | None = None
    subscribers: int = 0
    stale_subscribers: int = 0
    pairs: tuple[PairOutcome, ...] = ()
    clients: tuple[tuple[Reporter, Interval], ...] = ()
    steered: frozenset[str] = frozenset()
    echo: EchoSeen = field(default_factory=EchoSeen)

    def interval(self, name: str) -> Interval:
        """Return a source's counts; nothing for a source that did not speak."""
        return next((interval for source, interval in self.intervals if source == name), Interval())


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """One source over a rollout. ``errors``: its e-processes. ``total``: its counts in the window.

    ``last_s``: when it last counted a request; ``elsewhere``: what others counted since.
    """

    source: Source
    errors: SourceEvidence
    total: Interval = field(default_factory=Interval)
    last_s: float = 0.0
    elsewhere: int = 0

    @property
    def speaks(self) -> bool:
        """Whether its counts are asked for: it has counted this model before."""
        return self.source.spoken

    def is_stale(self, now_s: float) -> bool:
        """Whether it is silent while it should speak."""
        return self.speaks and now_s - self.last_s > STALE_AFTER_S and self.elsewhere >= STALE_AFTER_REQUESTS


@dataclass(frozen=True, slots=True)
class RolloutEvidence:
    """All evidence of a rollout; ``window`` says to which span the window's counts belong.

    ``errors_failed``: the error gate fired, which is final. ``probes_asked``: the window needs paired probes. ``echo``: None where
    behaviour is not judged. ``health``: matched events and their alarms; they have no vote.
    """

    window: Window
    records: tuple[SourceRecord, ...]
    arrivals: ArrivalEvidence = field(default_factory=ArrivalEvidence)
    pairs: PairEvidence = field(default_factory=PairEvidence)
    clients: ClientsEvidence = field(default_factory=ClientsEvidence)
    stale_subscribers: int = 0
    errors_failed: bool = False
    probes_asked: bool = False
    echo: EchoEvidence | None = None
    health: Health = field(default_factory=Health)

    @property
    def speaking(self) -> tuple[SourceRecord, ...]:
        """The sources that count this model's requests."""
        return tuple(record for record in self.records if record.speaks)

    @property
    def log_e(self) -> float:
        """The logarithm of the error gate's e-value."""
        return error_eprocess.combined_log_e(tuple(record.errors for record in self.speaking))

    @property
    def concurrent_log_e(self) -> float:
        """The logarithm of the concurrent comparison's e-value."""
        return error_eprocess.concurrent_log_e(tuple(record.errors for record in self.speaking))

    @property
    def comparison_log_e(self) -> float:
        """The logarithm of the e-value against the old version, concurrent or recorded."""
        return error_eprocess.comparison_log_e(tuple(record.errors for record in self.speaking))

    @property
    def blamed(self) -> bool:
        """Whether comparative evidence points at the new version: live requests of both versions, or paired probes."""
        return max(self.concurrent_log_e, self.pairs.log_e) >= error_eprocess.LOG_BLAME


def begin(
    window: Window,
    sources: tuple[Source, ...],
    subject: EchoSubject | None = None,
    kept: EchoEvidence | None = None,
) -> RolloutEvidence:
    """Start a rollout's evidence with its first window, or with the first one after a restart.

    ``subject``: whose behaviour is judged, None for nobody's. ``kept``: what an earlier daemon knew of it.
    """
    records = tuple(
        SourceRecord(
            source,
            error_eprocess.stake(SourceEvidence(tells_client_errors=source.tells_client_errors)),
            last_s=window.began_s,
        )
        for source in sources
    )
    if kept is not None:
        # Whether an extended window's texts were scored before the restart is not known; once more is no fresh chance.
        heard: EchoEvidence | None = echo.enter(kept, extended=window.extended)
    else:
        heard = echo.begin(subject) if subject is not None else None
    return RolloutEvidence(window, records, probes_asked=window.extended, echo=heard)


def enter(evidence: RolloutEvidence, window: Window) -> RolloutEvidence:
    """Go on with another window: its counts start again; the e-processes go on with another stake."""
    test = evidence.window.error_test
    soaking = evidence.window.soaking
    records = tuple(
        replace(
            record,
            errors=error_eprocess.stake(error_eprocess.close(record.errors, test, soaking=soaking)),
            total=Interval(),
        )
        for record in evidence.records
    )
    entered = replace(
        evidence,
        window=window,
        records=records,
        arrivals=arrivals.restarted(evidence.arrivals),
        pairs=probes.next_window(evidence.pairs),
        clients=clients.enter(evidence.clients, test, soaking=soaking),
        probes_asked=window.extended,
        echo=echo.enter(evidence.echo, extended=window.extended) if evidence.echo is not None else None,
        health=health.ended(evidence.health),
    )
    return _fired(entered)


def observe(evidence: RolloutEvidence, seen: Observation) -> RolloutEvidence:
    """Take an interval in."""
    everywhere = sum(interval.requests for _, interval in seen.intervals)
    records = tuple(_recorded(record, seen, everywhere, evidence.window) for record in evidence.records)
    pairs, heard = evidence.pairs, evidence.echo
    for pair in seen.pairs:
        pairs = probes.update(pairs, pair)
    if heard is not None:
        heard = echo.observe(heard, seen.echo)
    moved = heard.live.distances if heard is not None else ()
    most = max((interval for _, interval in seen.intervals), key=lambda one: one.requests, default=Interval())
    updated = replace(
        evidence,
        records=records,
        pairs=pairs,
        arrivals=_arrivals(evidence, seen),
        clients=_clients(evidence, seen),
        stale_subscribers=seen.stale_subscribers,
        echo=heard,
        health=health.observed(evidence.health, seen.pairs, most, moved),
    )
    return _fired(updated)


def _recorded(record: SourceRecord, seen: Observation, everywhere: int, window: Window) -> SourceRecord:
    interval = seen.interval(record.source.name)
    if interval.seen == 0:
        return replace(record, elsewhere=record.elsewhere + everywhere)
    return replace(
        record,
        source=replace(record.source, spoken=True),
        errors=error_eprocess.update(record.errors, interval, window.error_test, soaking=window.soaking),
        total=record.total + interval,
        last_s=seen.now_s,
        elsewhere=0,
    )


def _arrivals(evidence: RolloutEvidence, seen: Observation) -> ArrivalEvidence:
    """Judge the source that sees routed traffic; where none does, what the workers saw, if anybody subscribes to the routes at all."""
    window, current = evidence.window, evidence.arrivals
    if seen.weight is None or seen.now_s - window.began_s < arrivals.GRACE_S:
        return current
    routed = next((r.source for r in evidence.speaking if r.source.routed), None)
    any_source = next((r.source for r in evidence.speaking), None) if seen.subscribers else None
    source = routed or any_source
    if source is None:
        return current
    trust = arrivals.TRUST_ROUTED if source.routed else arrivals.TRUST_ANY
    current = arrivals.update(current, seen.interval(source.name), seen.weight, trust, seen.now_s)
    if seen.stale_subscribers:
        return current  # traffic of a client that has older routes explains a silence
    return arrivals.judged(current, window.policy.alpha * SIDE_GATE_PART, seen.now_s)


def _clients(evidence: RolloutEvidence, seen: Observation) -> ClientsEvidence:
    """Judge client by client; silence only under weights that everybody has had for a while."""
    window = evidence.window
    young = seen.now_s - window.began_s < arrivals.GRACE_S
    weight = None if young or seen.stale_subscribers else seen.weight
    test = replace(window.error_test, alpha=window.policy.alpha * SIDE_GATE_PART)
    told = ClientsSeen(seen.now_s, seen.clients, weight, seen.steered)
    return clients.observe(evidence.clients, told, test, soaking=window.soaking)


def _fired(evidence: RolloutEvidence) -> RolloutEvidence:
    fires = evidence.log_e >= -math.log(evidence.window.policy.alpha) and evidence.blamed
    return replace(evidence, errors_failed=evidence.errors_failed or fires)
