"""Request counts of an interval, from running totals.

The probes that the gates made themselves are taken off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import structlog

from echoplaned.core.ids import VersionKey
from echoplaned.gates.claim_audit import ClaimAudit, VersionClaims
from echoplaned.gates.collector import Job, RolloutContext
from echoplaned.gates.conversations import HOLD_S, ConversationFilter
from echoplaned.gates.gate import Ask, Lack, Need, Observation, Source
from echoplaned.gates.history import CountHistory
from echoplaned.ports.conversations import ConversationSource
from echoplaned.ports.request_counts import NOTHING, CountedBy, Interval, RequestCounts
from echoplaned.ports.traffic import EngineCounters, EngineCounterSource, TrafficSource

_log = structlog.get_logger(__name__)
_COUNTS_ALL = EngineCounters(counts_arrivals=True, counts_errors=True)

LIVE_FOR_S = 5.0
"""After its last request a model counts as one with live traffic for so long."""

OVERLOADED_FOR_S = 10.0
"""After the last request that found no room, what fails may still be for want of it: as long as a probe waits."""

OWED_FOR_S = 10.0
"""A probe that no report has counted for so long is not waited for any more."""


@dataclass(slots=True)
class _OwedProbes:
    """Probes of ours that a source's counts hold or will hold.

    They are not traffic, and are taken off as soon as such counts come.

    Attributes:
        arrivals: probes that are still to be taken off the arrivals.
        ok: probes that are still to be taken off the good answers; below 0 where too many were.
        failed: probes that are still to be taken off the errors.
        last_s: when the last probe went out, seconds since the epoch.
    """

    arrivals: int = 0
    ok: int = 0
    failed: int = 0
    last_s: float = 0.0


class TotalsReader:
    """Reads what each source has counted since the last reading.

    It does so for the two versions of a rollout.

    Args:
        sources: by name.
        new: the version that comes.
        old: the version that it replaces.
        probes_counted_by: sources whose totals include probes.
    """

    def __init__(
        self,
        sources: Mapping[str, TrafficSource],
        new: VersionKey,
        old: VersionKey,
        probes_counted_by: frozenset[str],
    ) -> None:
        self._sources = dict(sources)
        self._versions = (new, old)
        self._last = {name: dict(source.totals()) for name, source in self._sources.items()}
        self._owed = {
            (name, key): _OwedProbes() for name in self._sources if name in probes_counted_by for key in (new, old)
        }

    def has_reported(self, name: str) -> bool:
        """Whether a source has counted any request of this model so far."""
        model = self._versions[0].model
        totals = self._last[name].items()
        return any(key.model == model and counts != NOTHING for key, counts in totals)

    def last(self, name: str, version: VersionKey) -> RequestCounts:
        """Return a source's totals at the last reading."""
        return self._last.get(name, {}).get(version, NOTHING)

    def read(self, now_s: float) -> tuple[tuple[str, Interval], ...]:
        """Return what each source counted since the last reading."""
        return tuple((name, self._read(name, source, now_s)) for name, source in self._sources.items())

    def probe_sent(self, version: VersionKey, now_s: float) -> None:
        """Note that a probe goes out.

        It will be counted as an arrival and, as is usual, as a good answer.
        """
        for owed in self._owed_probes_of(version):
            owed.arrivals += 1
            owed.ok += 1
            owed.last_s = now_s

    def probe_failed(self, version: VersionKey) -> None:
        """Note that the last probe was no good answer after all."""
        for owed in self._owed_probes_of(version):
            owed.ok -= 1
            owed.failed += 1

    def probe_refused(self, version: VersionKey) -> None:
        """Note that the last probe found no room.

        It is no answer, and no error either.
        """
        for owed in self._owed_probes_of(version):
            owed.ok -= 1

    def _owed_probes_of(self, version: VersionKey) -> list[_OwedProbes]:
        return [owed for (_, key), owed in self._owed.items() if key == version]

    def _read(self, name: str, source: TrafficSource, now_s: float) -> Interval:
        totals = dict(source.totals())
        before, self._last[name] = self._last[name], totals
        counted = []
        for key in self._versions:
            counts = totals.get(key, NOTHING).since(before.get(key, NOTHING))
            owed = self._owed.get((name, key))
            counted.append(counts if owed is None else _without_probes(counts, owed, now_s))
        return Interval(new=counted[0], old=counted[1])


@dataclass(frozen=True, slots=True)
class CountingOptions:
    """What is known of the sources of request counts, by name.

    Attributes:
        classifying: those that tell callers' mistakes from server errors.
        routed: those that see exactly the traffic that the routes steer.
        probes_counted_by: those whose totals include our probes.
        history: of what the workers counted, which clients' claims are held against; None: claims are believed as they come.
        conversations: knows requests of one conversation, which count once; None: every request counts.
    """

    classifying: frozenset[str] = frozenset({CountedBy.WORKER})
    routed: frozenset[str] = frozenset({CountedBy.LRS})
    probes_counted_by: frozenset[str] = frozenset({CountedBy.WORKER})
    history: CountHistory | None = None
    conversations: ConversationSource | None = None


class CountsCollector:
    """Gathers request counts, which every gate may use.

    It also says what the engines do not count.
    """

    def __init__(
        self,
        sources: Mapping[str, TrafficSource],
        engines: EngineCounterSource | None,
        options: CountingOptions,
        context: RolloutContext,
    ) -> None:
        self.reader = TotalsReader(sources, context.new, context.old, options.probes_counted_by)
        self._names = tuple(sources)
        self._engines = engines
        self._options = options
        self._versions = (context.new, context.old)
        self._clock = context.clock
        self._live_until_s = 0.0
        self._overloaded_until_s = 0.0
        self._rollout_id = context.rollout.rollout_id
        self._claim_audit = ClaimAudit(self._open_claims(context.new), self._open_claims(context.old))
        self._conversations = (
            ConversationFilter(options.conversations, self._versions, options.classifying)
            if options.conversations is not None
            else None
        )

    @property
    def is_overloaded(self) -> bool:
        """Whether a version has had more requests of late than it could take."""
        return self._clock() < self._overloaded_until_s

    @property
    def claim_audit(self) -> ClaimAudit:
        """What clients claimed against what the workers counted, after the last reading."""
        return self._claim_audit

    @property
    def left_out(self) -> str:
        """Why clients' load reports are not believed; empty: they are."""
        return self._claim_audit.left_out

    @property
    def is_live(self) -> bool:
        """Whether the model has had a request of late."""
        return self._clock() < self._live_until_s

    def sources(self) -> tuple[Source, ...]:
        """Return the sources, and whether each has counted this model so far."""
        return tuple(
            Source(
                name, name in self._options.classifying, name in self._options.routed, self.reader.has_reported(name)
            )
            for name in self._names
        )

    # --- Collector ---

    def add_to(self, seen: Observation) -> Observation:
        """Add what each source counted since the last reading."""
        intervals = self._audit(seen.now_s, dict(self.reader.read(seen.now_s)))
        if any(interval.seen for interval in intervals.values()):
            self._live_until_s = seen.now_s + LIVE_FOR_S
        if any(interval.new.overloads or interval.old.overloads for interval in intervals.values()):
            self._overloaded_until_s = seen.now_s + OVERLOADED_FOR_S
        left_out = ((CountedBy.LRS.value, self.left_out),) if self.left_out else ()
        counted = replace(seen, intervals=tuple(intervals.items()), lacks=self._lacks(), left_out=left_out)
        if self._conversations is None or not self._conversations.is_needed:
            return counted
        found = self._conversations.take_off(seen.now_s, intervals)
        return replace(
            counted,
            intervals=tuple(found.intervals.items()),
            draws=tuple(found.draws.items()),
            requests=counted.intervals,
            held_s=HOLD_S,
        )

    def probe_unreached(self, version: VersionKey) -> None:
        """Note that a probe of ours found no connection to a version.

        Clients may report the same without a counterpart.
        """
        self._claim_audit = self._claim_audit.unreached(self._clock(), new=version == self._versions[0])

    def versions_to_reach(self) -> tuple[VersionKey, ...]:
        """Return the versions whose connections are to be tried.

        Clients report errors of them that no worker counted: can they be reached at all?
        """
        accounts = zip(self._versions, (self._claim_audit.new, self._claim_audit.old), strict=True)
        return tuple(key for key, account in accounts if account.waiting_errors and not self.left_out)

    def take(self, asks: tuple[Ask, ...]) -> None:
        """Nothing to be asked for."""

    def enter(self) -> None:
        """Counts go on; a conversation counts once in every window."""
        if self._conversations is not None:
            self._conversations.begin_window()

    def jobs(self) -> Mapping[str, Job]:
        """Nothing to do between two readings."""
        return {}

    def _open_claims(self, version: VersionKey) -> VersionClaims:
        history, now = self._options.history, self.reader.last(CountedBy.WORKER, version)
        return VersionClaims() if history is None else VersionClaims(counted=history.claimable(version, now))

    def _audit(self, now_s: float, intervals: dict[str, Interval]) -> dict[str, Interval]:
        """Replace what clients claim by what of it the workers' counters show."""
        history = self._options.history
        if history is None or CountedBy.LRS not in intervals:
            return intervals
        claims = intervals[CountedBy.LRS] if now_s >= history.complete_from_s else Interval()
        has = tuple(self._has(key) for key in self._versions)
        before = self.left_out
        self._claim_audit, shown = self._claim_audit.add(
            now_s, claims, intervals.get(CountedBy.WORKER, Interval()), (has[0], has[1])
        )
        if self.left_out and not before:
            _log.warning("claims.excluded", rollout=self._rollout_id, detail=self.left_out)
        return {**intervals, CountedBy.LRS.value: shown}

    def _has(self, version: VersionKey) -> EngineCounters:
        found = self._engines.engine_counters(version) if self._engines is not None else None
        return found or _COUNTS_ALL

    def _lacks(self) -> tuple[Lack, ...]:
        if self._engines is None:
            return ()
        others = [name for name in self._names if name != CountedBy.WORKER]
        replaced = any(self.reader.has_reported(name) for name in others)
        found = []
        for version in self._versions:
            counters = self._engines.engine_counters(version)
            if counters is None:
                continue
            has = {
                Need.ARRIVALS: (counters.counts_arrivals, replaced),
                Need.ERRORS: (counters.counts_errors, replaced),
                Need.HISTOGRAMS: (counters.has_histograms, False),
                Need.TRACES: (counters.has_traces, False),
            }
            found += [
                Lack(need, version.version, CountedBy.WORKER, by_others)
                for need, (is_there, by_others) in has.items()
                if not is_there
            ]
        return tuple(found)


def _without_probes(counts: RequestCounts, owed: _OwedProbes, now_s: float) -> RequestCounts:
    """Take off the probes that these counts can hold.

    What is left is owed by the next ones.
    """
    if now_s - owed.last_s > OWED_FOR_S:
        owed.arrivals = owed.ok = owed.failed = 0
    arrivals = min(owed.arrivals, counts.arrivals)
    # Below 0 when a failed probe was taken off as a good answer before its outcome was known; the next probe makes up for it.
    ok = min(max(0, owed.ok), counts.ok)
    server = min(owed.failed, counts.server_errors)
    client = min(owed.failed - server, counts.client_errors)
    owed.arrivals -= arrivals
    owed.ok -= ok
    owed.failed -= server + client
    return replace(
        counts,
        ok=counts.ok - ok,
        client_errors=counts.client_errors - client,
        server_errors=counts.server_errors - server,
        arrivals=counts.arrivals - arrivals,
        calls=max(0, counts.calls - arrivals),
    )
