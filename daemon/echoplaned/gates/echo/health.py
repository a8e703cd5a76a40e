"""The event algebra that describes a model's health beside the gates.

Errors, slow answers and drift of matched pairs climb the health tree, epoch by epoch.

An epoch is at most ``EPOCH_PAIRS`` matched pairs, one request of each version. Each gate has epochs of its own: paired probes tell
errors and slow answers, live pairs of the echo gate tell drift, and the counts of live requests tell errors: of an interval as many
requests of both versions are matched as the one with fewer had, and of the other's errors the part that falls on so many.

In a pair an event belongs to one version or to neither, and equal versions are equally likely to have it. At its end old and
new events cancel, and each ``threshold`` of what is left of the new version's is an alarm. Alarms describe; they have no vote.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from echoplaned.dtesn import Alarms, Event, HealthAlgebra
from echoplaned.gates.statistics.pairs import PairOutcome
from echoplaned.ports.request_counts import Interval

EPOCH_PAIRS = 64
Z_ALARM = 3.0
"""Standard deviations of a surplus by chance, in an epoch full of events, that make an alarm."""

SLOW_RATIO = 2.0
MIN_SLOW_S = 0.05
"""An answer is slow that took so many times as long as its partner, and at least so long."""

DRIFT_MARGIN = 1.0
"""A request drifts that is farther from what the old version did before than its partner, by so much of the squared distance a feature."""

MAX_MATCHED = 512
"""Live requests of one interval that are matched at most; of a busier model the rest is left out."""

LINES_RETAINED = 8
_EVENTS = tuple(Event)


@dataclass(frozen=True, slots=True)
class HealthEvidence:
    """One gate's open epoch and the alarms so far.

    Attributes:
        gate: name of the gate; may be empty.
        pairs: matched pairs of the open epoch, below ``EPOCH_PAIRS``.
        counts: events of the open epoch, in the order of ``Event``.
        epochs: epochs that have ended, from 0.
        alarms: alarms of all of them, from 0.
        lines: the newest epochs with an alarm as text, at most ``LINES_RETAINED``.
    """

    gate: str = ""
    pairs: int = 0
    counts: tuple[int, ...] = (0,) * len(_EVENTS)
    epochs: int = 0
    alarms: int = 0
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Health:
    """The open epochs of each gate.

    Attributes:
        probes: epochs of paired probes, which tell errors and slow answers.
        errors: epochs of live requests, which tell errors.
        drift: epochs of live pairs, which tell drift.
        left_over: parts of errors that fall on matched requests, new and old, below 1 each.
    """

    probes: HealthEvidence = HealthEvidence(gate="probes")
    errors: HealthEvidence = HealthEvidence(gate="errors")
    drift: HealthEvidence = HealthEvidence(gate="echo")
    left_over: tuple[float, float] = (0.0, 0.0)

    @property
    def lines(self) -> tuple[str, ...]:
        """The newest epochs with an alarm, gate by gate."""
        return (*self.errors.lines, *self.probes.lines, *self.drift.lines)


def observe(
    health: Health, probes: tuple[PairOutcome, ...], live: Interval, distances: tuple[tuple[float, float], ...]
) -> Health:
    """Add what an interval brought.

    Args:
        health: the epochs so far.
        probes: paired probes that were answered.
        live: what the source that sees most counted.
        distances: distances of live pairs, new and old.
    """
    probed, drift = health.probes, health.drift
    for pair in probes:
        probed = add_pair(probed, of_probes(pair))
    for new, old in distances:
        drift = add_pair(drift, of_distances(new, old))
    return replace(_with_errors(health, live), probes=probed, drift=drift)


def end_epochs(health: Health) -> Health:
    """End every gate's epoch: the weights change."""
    return replace(health, probes=close(health.probes), errors=close(health.errors), drift=close(health.drift))


def _with_errors(health: Health, live: Interval) -> Health:
    matched = min(live.new.requests, live.old.requests, MAX_MATCHED)
    if not matched:
        return health
    sides = zip((live.new, live.old), health.left_over, strict=True)
    due = [left + counts.errors * matched / counts.requests for counts, left in sides]
    new, old = (min(matched, int(part)) for part in due)
    errors = health.errors
    for number in range(matched):
        # Which requests are matched is not known, so no pair is spared for erring on both sides: both cancel in the epoch.
        events = (Event.NEW_ERROR,) * (number < new) + (Event.OLD_ERROR,) * (number < old)
        errors = add_pair(errors, events)
    return replace(health, errors=errors, left_over=(due[0] - int(due[0]), due[1] - int(due[1])))


def of_probes(pair: PairOutcome) -> tuple[Event, ...]:
    """Return what a pair of probes tells."""
    if pair.new_ok != pair.old_ok:
        return (Event.OLD_ERROR if pair.new_ok else Event.NEW_ERROR,)
    if not pair.new_ok or max(pair.new_s, pair.old_s) < MIN_SLOW_S:
        return ()
    if pair.new_s > SLOW_RATIO * pair.old_s:
        return (Event.NEW_SLOW,)
    return (Event.OLD_SLOW,) if pair.old_s > SLOW_RATIO * pair.new_s else ()


def of_distances(new: float, old: float) -> tuple[Event, ...]:
    """Return the drift that a live pair shows.

    The distances are each request's squared distance a feature from what the old version did before.
    """
    if abs(new - old) < DRIFT_MARGIN:
        return ()
    return (Event.NEW_DRIFT if new > old else Event.OLD_DRIFT,)


def add_pair(evidence: HealthEvidence, events: tuple[Event, ...]) -> HealthEvidence:
    """Add a pair's events; an epoch that is full ends."""
    counts = tuple(count + events.count(event) for count, event in zip(evidence.counts, _EVENTS, strict=True))
    after = replace(evidence, pairs=evidence.pairs + 1, counts=counts)
    return close(after) if after.pairs >= EPOCH_PAIRS else after


def close(evidence: HealthEvidence) -> HealthEvidence:
    """End the epoch, full or not, and begin the next one.

    It ends before it is full where the weights change.
    """
    if evidence.pairs == 0:
        return evidence
    threshold = HealthAlgebra.threshold(Z_ALARM, evidence.pairs)
    algebra = HealthAlgebra(error=threshold, slow=threshold, drift=threshold)
    for event, count in zip(_EVENTS, evidence.counts, strict=True):
        if count:
            algebra.record(algebra.gates[0], event, count)
    alarms = algebra.close()
    raised = alarms.error + alarms.slow + alarms.drift
    lines = (*evidence.lines, _line(evidence, alarms))[-LINES_RETAINED:] if raised else evidence.lines
    return HealthEvidence(evidence.gate, epochs=evidence.epochs + 1, alarms=evidence.alarms + raised, lines=lines)


def _line(evidence: HealthEvidence, alarms: Alarms) -> str:
    """Tell an epoch's alarms with the rules that were applied, step by step."""
    raised_by_kind = ", ".join(
        f"{name} {count}"
        for name, count in (("error", alarms.error), ("slow", alarms.slow), ("drift", alarms.drift))
        if count
    )
    events = ", ".join(f"{count} {event.value}" for event, count in zip(_EVENTS, evidence.counts, strict=True) if count)
    steps = " | ".join(
        "; ".join(f"{rule} x{times}" for _, rule, times in step if "open" not in rule.split("-->")[0])
        for step in alarms.trace
    )
    gate = f"{evidence.gate} " if evidence.gate else ""
    return (
        f"{gate}epoch {evidence.epochs + 1} ({evidence.pairs} pairs: {events}): alarms {raised_by_kind}; rules: {steps}"
    )
