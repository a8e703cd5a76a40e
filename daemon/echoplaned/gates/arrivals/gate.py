"""The gate ``arrivals``: fails a version that no request reaches.

It does so while the model has traffic (``statistics.silence``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from echoplaned.core.rollout_state import GateVerdict, Verdict
from echoplaned.gates.client_reports import ClientReports, LookUpRouteOnlyClients
from echoplaned.gates.codes import Code
from echoplaned.gates.gate import JudgeContext, Judgement, Need, Observation, Start
from echoplaned.gates.sources import SourceRecord, begin_records
from echoplaned.gates.statistics import silence
from echoplaned.gates.statistics.silence import SilenceEvidence
from echoplaned.gates.window import Window
from echoplaned.ports.request_counts import Interval

NAME = "arrivals"

LOOKED_UP_S = 2.0
"""Reports of so long tell which part of the requests had a choice: clients report every second, each in its own turn."""

_MAX_CONFIDENCE = 1.0 - 1e-9


@dataclass(frozen=True, slots=True)
class Choice:
    """How many of the old version's requests in a silence had a choice.

    A client that dials a version by its own target reports its requests like any other, and none of them could have gone elsewhere.

    Attributes:
        run: number of the silence.
        since_s: when reports were looked into first, seconds since the epoch; None: they were not.
        reported: requests of the old version in reports since.
        dialled: of these, those of clients that dial versions.
    """

    run: int = 0
    since_s: float | None = None
    reported: int = 0
    dialled: int = 0

    @property
    def part(self) -> float:
        """The part of the requests that had a choice, in [0, 1]; 1 where nothing is known."""
        return 1.0 - self.dialled / self.reported if self.reported else 1.0

    def is_known(self, now_s: float) -> bool:
        """Whether reports were looked into for long enough."""
        return self.reported > 0 and self.since_s is not None and now_s - self.since_s >= LOOKED_UP_S

    def observe(self, run: int, seen: Observation) -> Choice:
        """Add what was looked up; another silence begins again."""
        reports = seen.part(ClientReports)
        known = self if run == self.run else Choice(run)
        if seen.left_out:
            return Choice(run)  # what is not believed takes nothing from what the workers count
        if reports is None or reports.old_requests is None:
            return known
        since_s = seen.now_s if known.since_s is None else known.since_s
        return Choice(run, since_s, known.reported + reports.old_requests, known.dialled + reports.old_dialled)


@dataclass(frozen=True, slots=True)
class ArrivalsEvidence:
    """What is known of requests that reach the new version.

    Attributes:
        window: the window to which the counts belong.
        records: request counts, one a source.
        silence: the running silence of the new version.
        stale_subscribers: stale subscribers of the model at the last observation, from 0.
        choice: how many of the old version's requests had a choice.
    """

    window: Window
    records: tuple[SourceRecord, ...]
    silence: SilenceEvidence = field(default_factory=SilenceEvidence)
    stale_subscribers: int = 0
    choice: Choice = field(default_factory=Choice)


class ArrivalsGate:
    """Implements ``Gate`` on counts of requests that began."""

    @property
    def name(self) -> str:
        """The gate's name."""
        return NAME

    def needs(self) -> frozenset[Need]:
        """Arrivals have to be counted by somebody."""
        return frozenset({Need.ARRIVALS})

    def begin(self, start: Start) -> ArrivalsEvidence:
        """Begin with nothing counted."""
        return ArrivalsEvidence(start.window, begin_records(start.sources, start.window.began_s))

    def enter(self, evidence: ArrivalsEvidence, window: Window) -> ArrivalsEvidence:
        """Go on with another window, whose weights are others: a silence begins again."""
        return replace(
            evidence,
            window=window,
            records=tuple(record.enter() for record in evidence.records),
            silence=silence.restart(evidence.silence),
        )

    def observe(self, evidence: ArrivalsEvidence, seen: Observation) -> ArrivalsEvidence:
        """Add what an interval brought."""
        choice = evidence.choice.observe(evidence.silence.runs, seen)
        return replace(
            evidence,
            choice=choice,
            silence=_observe(replace(evidence, choice=choice), seen),
            records=tuple(record.observe(seen, Need.ARRIVALS) for record in evidence.records),
            stale_subscribers=seen.stale_subscribers,
        )

    def judge(self, evidence: ArrivalsEvidence, moment: JudgeContext) -> Judgement:
        """Judge the silence as it was observed last, whatever the moment."""
        asks = (LookUpRouteOnlyClients(),) if silence.is_awaited(evidence.silence) else ()
        return Judgement(_decide(evidence), asks)


def _observe(evidence: ArrivalsEvidence, seen: Observation) -> SilenceEvidence:
    """Add an interval to the silence, from the source that counts here.

    That is the source that sees routed traffic; where none does, what the workers saw, if anybody subscribes to the
    routes at all.
    """
    window, current = evidence.window, evidence.silence
    if seen.weight is None or seen.now_s - seen.held_s - window.began_s < silence.GRACE_S:
        return current
    reporting = tuple(record.source for record in evidence.records if record.reporting)
    routed = next((source for source in reporting if source.routed), None)
    any_source = next(iter(reporting), None) if seen.subscribers else None
    source = routed or any_source
    if source is None or seen.lacks_from(source.name, Need.ARRIVALS):
        return current
    trust = silence.TRUST_ROUTED if source.routed else silence.TRUST_ANY
    interval = seen.interval(source.name)
    others = [seen.requests_of(each.name).new for each in reporting if not seen.lacks_from(each.name, Need.ARRIVALS)]
    # What any source saw arrive did arrive: those who do not reach the version are single clients then, and have a gate of their own.
    # Every request of a conversation shows that; that others do not come is one draw of theirs.
    reached = max(others, key=lambda counts: counts.seen, default=interval.new)
    current = silence.update(current, Interval(reached, interval.old), seen.weight, trust, seen.now_s)
    if seen.stale_subscribers:
        return current  # traffic of a client that has older routes explains a silence
    if source.routed and seen.part(ClientReports) is not None and not evidence.choice.is_known(seen.now_s):
        return current  # whose requests these are is being looked up
    return silence.test(current, window.side_alpha, seen.now_s, evidence.choice.part)


def _decide(evidence: ArrivalsEvidence) -> Verdict:
    current = evidence.silence
    new = max((record.total.new.seen for record in evidence.records if record.reporting), default=0)
    counts = (("new_request_count", new), ("old_silent_request_count", current.old_requests))
    waited = f"none of about {current.expected:.0f} expected requests reached the new version"
    if current.failed:
        text = f"{Code.ARRIVALS_MISSING}: {waited} while the old one had {current.old_requests}"
        return Verdict(NAME, GateVerdict.FAIL, text, 1.0 - evidence.window.side_alpha, counts)
    if silence.is_awaited(current, evidence.choice.part):
        stale = f" ({evidence.stale_subscribers} subscribers are stale)" if evidence.stale_subscribers else ""
        chance = math.exp(current.log_chance)
        text = f"{Code.ARRIVALS_AWAITED}: {waited}{stale}"
        return Verdict(NAME, GateVerdict.HOLD, text, min(_MAX_CONFIDENCE, 1.0 - chance), counts)
    if new:
        text = f"{Code.ARRIVALS_SEEN}: {new} requests reached the new version"
        return Verdict(NAME, GateVerdict.PASS, text, evidence.window.policy.confidence, counts)
    text = f"{Code.ARRIVALS_NOT_EXPECTED}: the model has too little traffic for one to be missed"
    return Verdict(NAME, GateVerdict.PASS, text, 0.0, counts)
