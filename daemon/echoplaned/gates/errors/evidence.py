"""What the error gate knows of a rollout.

That is request counts and e-processes of each source, and the paired probes that may blame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from echoplaned.gates.errors import overload
from echoplaned.gates.errors.overload import Overload
from echoplaned.gates.gate import Need, Observation, Start
from echoplaned.gates.sources import SourceRecord, begin_records
from echoplaned.gates.statistics import error_eprocess, pairs
from echoplaned.gates.statistics.error_eprocess import SourceEvidence
from echoplaned.gates.statistics.pairs import PairEvidence
from echoplaned.gates.window import Window
from echoplaned.ports.request_counts import Interval


@dataclass(frozen=True, slots=True)
class ErrorRecord:
    """One source's counts and tests over a rollout.

    Attributes:
        record: its counts in the window, of each conversation one request.
        test: its e-processes over the whole rollout, by one request of each conversation.
        suspicion: the same by every request: many errors of few conversations are suspicious, and no proof.
    """

    record: SourceRecord
    test: SourceEvidence
    suspicion: SourceEvidence

    @property
    def total(self) -> Interval:
        """Its counts in the window."""
        return self.record.total

    @property
    def tells_client_errors(self) -> bool:
        """Whether it tells callers' mistakes from server errors."""
        return self.record.source.tells_client_errors


@dataclass(frozen=True, slots=True)
class ErrorsEvidence:
    """All evidence of the error gate.

    Attributes:
        window: to which the counts belong.
        records: one a source.
        pairs: paired probes, which may blame, and stand in for live requests.
        failed: whether the errors were significant once; stays so.
        overload: what was refused for want of room or time in the window.
        has_conversations: whether there were requests of conversations, each of which counts once.
    """

    window: Window
    records: tuple[ErrorRecord, ...]
    pairs: PairEvidence = field(default_factory=PairEvidence)
    failed: bool = False
    overload: Overload = field(default_factory=lambda: Overload(0.0))
    has_conversations: bool = False

    @property
    def reporting(self) -> tuple[ErrorRecord, ...]:
        """The sources that count this model's requests."""
        return tuple(record for record in self.records if record.record.reporting)

    @property
    def log_e(self) -> float:
        """The logarithm of the error gate's e-value."""
        return error_eprocess.combined_log_e(self._tests)

    @property
    def concurrent_log_e(self) -> float:
        """The logarithm of the concurrent comparison's e-value."""
        return error_eprocess.concurrent_log_e(self._tests)

    @property
    def comparison_log_e(self) -> float:
        """The logarithm of the e-value against the old version, by every request.

        The old version's errors are concurrent or recorded.
        """
        return error_eprocess.comparison_log_e(tuple(record.suspicion for record in self.reporting))

    @property
    def suspicion_log_e(self) -> float:
        """The logarithm of the error gate's e-value, were every request a draw."""
        return error_eprocess.combined_log_e(tuple(record.suspicion for record in self.reporting))

    @property
    def blames_new(self) -> bool:
        """Whether comparative evidence points at the new version.

        Such evidence is live requests of both versions, or paired probes.
        """
        return max(self.concurrent_log_e, self.pairs.log_e) >= error_eprocess.LOG_BLAME

    @property
    def probes_passed(self) -> bool:
        """Whether the new version answered enough paired probes in a row.

        A window needs ``probe_count`` of them.
        """
        return self.pairs.row >= self.window.policy.probe_count

    @property
    def _tests(self) -> tuple[SourceEvidence, ...]:
        return tuple(record.test for record in self.reporting)


def begin(start: Start) -> ErrorsEvidence:
    """Begin with nothing counted."""
    records = begin_records(start.sources, start.window.began_s)
    tests = tuple(ErrorRecord(record, _begin_test(record), _begin_test(record)) for record in records)
    return ErrorsEvidence(start.window, tests, overload=Overload(start.window.began_s))


def _begin_test(record: SourceRecord) -> SourceEvidence:
    return error_eprocess.stake(SourceEvidence(tells_client_errors=record.source.tells_client_errors))


def enter(evidence: ErrorsEvidence, window: Window) -> ErrorsEvidence:
    """Go on with another window.

    Its counts start again; the e-processes go on with another stake.
    """
    test, soaking = evidence.window.error_test, evidence.window.soaking
    records = tuple(
        ErrorRecord(
            record.record.enter(),
            error_eprocess.stake(error_eprocess.close(record.test, test, soaking=soaking)),
            error_eprocess.stake(error_eprocess.close(record.suspicion, test, soaking=soaking)),
        )
        for record in evidence.records
    )
    begun = pairs.next_window(evidence.pairs)
    entered = replace(evidence, window=window, records=records, pairs=begun, overload=Overload(window.began_s))
    return _decide(entered)


def observe(evidence: ErrorsEvidence, seen: Observation) -> ErrorsEvidence:
    """Add what an interval brought."""
    records = tuple(_observe(record, seen, evidence.window) for record in evidence.records)
    counted = evidence.pairs
    for pair in seen.pairs:
        counted = pairs.update(counted, pair)
    told = sum((seen.requests_of(r.record.source.name) for r in records if r.tells_client_errors), Interval())
    loaded = overload.observe(evidence.overload, seen.now_s, told)
    conversations = evidence.has_conversations or seen.requests is not None
    return _decide(replace(evidence, records=records, pairs=counted, overload=loaded, has_conversations=conversations))


def _observe(record: ErrorRecord, seen: Observation, window: Window) -> ErrorRecord:
    counted, name = record.record.observe(seen, Need.ERRORS), record.record.source.name
    if not counted.reporting:
        return replace(record, record=counted)
    return ErrorRecord(
        counted,
        _update(record.test, seen.draws_of(name), window),
        _update(record.suspicion, seen.requests_of(name), window),
    )


def _update(test: SourceEvidence, interval: Interval, window: Window) -> SourceEvidence:
    if interval.seen == 0:
        return test
    return error_eprocess.update(test, interval, window.error_test, soaking=window.soaking)


def _decide(evidence: ErrorsEvidence) -> ErrorsEvidence:
    significant = evidence.log_e >= -math.log(evidence.window.policy.alpha) and evidence.blames_new
    return replace(evidence, failed=evidence.failed or significant)
