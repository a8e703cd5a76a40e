"""Audit of what clients claim against what the workers counted.

A load report is a caller's word.

Node ids are free text, so the number of reporters proves nothing. But a request that a client really sent was seen by a worker.
So for each version, over the whole rollout, all claims together are at most what its workers saw arrive, and each claimed error has a
counterpart there. Two things follow, at two times:

*At once* a claim is evidence only as far as the workers' counters show it: errors as far as errors were counted, requests as far as
requests arrived. What they do not show yet waits. Reports come about a second after the requests and the counters twice as often, so an
honest claim does not wait, and made-up errors never become evidence.

*After* ``SLACK_S`` what was claimed by then has to be covered by what was counted since: requests by arrivals, errors by arrivals that
were not answered well. The two streams of numbers are not in step, so nothing is compared interval by interval. A claim that is not
covered means that somebody does not tell the truth, and as nobody knows who, the load reports of the model are left out for the rest
of the rollout. A claimed error that is covered only by a request under way, or by an overload, is neither shown nor refuted: it is
dropped, and speaks for nobody.

Two things may be missing from the counters through no fault of a client. A request that found no connection never arrived: where a probe
of our own finds none either, claimed errors need no other counterpart. And an engine that dies takes along what it counted
since its last report (``RequestCounts.unreported``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from echoplaned.ports.request_counts import NOTHING, Interval, RequestCounts
from echoplaned.ports.traffic import EngineCounters

SLACK_S = 5.0
"""How far the clients' reports and the workers' counters may be apart."""

RACES = 0.05
"""Part of the failed requests by which more may be claimed: a deadline can pass while the answer is on its way. None of it is shown."""

_ALL = EngineCounters(counts_arrivals=True, counts_errors=True)


@dataclass(frozen=True, slots=True)
class ClaimMark:
    """What clients had claimed of a version at a time.

    Attributes:
        time_s: that time, seconds since the epoch.
        requests: claimed requests that ended, from 0.
        errors: claimed errors among them, from 0.
    """

    time_s: float
    requests: int
    errors: int


@dataclass(frozen=True, slots=True)
class VersionClaims:
    """The audit of one version, from the begin of the rollout on.

    Attributes:
        counted: what its workers counted, and before that what clients may still report.
        claimed: what all clients claimed.
        shown: of the claims, what the counters show.
        probe_confirmed_errors: claimed errors that need no counterpart, as a probe of ours found no connection either.
        dropped_errors: claimed errors that are covered and not shown.
        marks: claims of the last ``SLACK_S``, the oldest first.
        unreached_s: when a probe of ours last found no connection, seconds since the epoch; minus infinity: never.
        is_covered: whether there were as many calls as are claimed.
    """

    counted: RequestCounts = NOTHING
    claimed: RequestCounts = NOTHING
    shown: RequestCounts = NOTHING
    probe_confirmed_errors: int = 0
    dropped_errors: int = 0
    marks: tuple[ClaimMark, ...] = ()
    unreached_s: float = -math.inf
    is_covered: bool = True

    @property
    def waiting_errors(self) -> int:
        """Claimed errors that nothing shows yet."""
        return max(0, self.claimed.errors - self.shown.errors - self.dropped_errors)

    @property
    def is_settled(self) -> bool:
        """Whether every claim is covered, and every error shown or dropped."""
        return self.waiting_errors == 0 and self.is_covered

    def add(self, now_s: float, claims: RequestCounts, counts: RequestCounts, has: EngineCounters) -> VersionClaims:
        """Add an interval's claims and counts, and show what can be shown."""
        claimed, counted = self.claimed + claims, self.counted + counts
        account = replace(self, claimed=claimed, counted=counted)
        account = _confirm_by_probe(account, now_s)
        marks = (*self.marks, ClaimMark(now_s, claimed.requests, claimed.errors))
        due = sum(1 for mark in marks if now_s - mark.time_s >= SLACK_S)
        # The newest of those that are due says most: claims only grow.
        account = replace(account, marks=marks[max(0, due - 1) :])
        covered = claimed.requests <= account.room(has) + account.probe_confirmed_errors or not has.counts_arrivals
        return _drop_old_errors(_show(replace(account, is_covered=covered), has), now_s, has)

    def contradiction(self, now_s: float, has: EngineCounters) -> str:
        """Say what was claimed and cannot be true; empty: the audit balances."""
        due = self.due(now_s)
        if due is None:
            return ""
        room = self.room(has) + self.probe_confirmed_errors
        # A request that failed need not have cost a step.
        claimed = due.requests if has.counts_arrivals else due.requests - due.errors
        if claimed > room:
            unit = "requests arrived" if has.counts_arrivals else "steps were computed"
            return f"clients report {claimed} requests, and at most {room} {unit}"
        if not has.counts_errors:
            return ""
        failed = (
            max(0, room - self.counted.ok) if has.counts_arrivals else self.counted.errors + self.probe_confirmed_errors
        )
        if due.errors - self.dropped_errors > failed * (1.0 + RACES):
            return f"clients report {due.errors} errors, and at most {failed} requests were not answered well"
        return ""

    def due(self, now_s: float) -> ClaimMark | None:
        """Return the newest claims that had time to be counted."""
        return next((mark for mark in reversed(self.marks) if now_s - mark.time_s >= SLACK_S), None)

    def room(self, has: EngineCounters) -> int:
        """Return how many calls there can have been.

        A call costs at least one step where arrivals are not counted.

        Clients report calls of any kind, as of a model's readiness; a stream is one call and may be many requests.
        """
        if not has.counts_arrivals:
            return self.counted.steps
        return max(self.counted.arrivals, self.counted.calls) + self.counted.unreported


@dataclass(frozen=True, slots=True)
class ClaimAudit:
    """The audit of a rollout's two versions.

    Attributes:
        new: audit of the version that comes.
        old: audit of the one that it replaces.
        left_out: why load reports are left out from here on; empty: they are not.
    """

    new: VersionClaims = field(default_factory=VersionClaims)
    old: VersionClaims = field(default_factory=VersionClaims)
    left_out: str = ""

    @property
    def is_settled(self) -> bool:
        """Whether the claims of both versions are settled.

        Nothing is claimed of either that is not covered, and no error that is not shown or dropped_errors.
        """
        return self.new.is_settled and self.old.is_settled

    @property
    def dropped_errors(self) -> int:
        """Claimed errors that were neither shown nor refuted."""
        return self.new.dropped_errors + self.old.dropped_errors

    def add(
        self,
        now_s: float,
        claims: Interval,
        counts: Interval,
        has: tuple[EngineCounters, EngineCounters] = (_ALL, _ALL),
    ) -> tuple[ClaimAudit, Interval]:
        """Add an interval to the audit of both versions.

        Returns the audit, and what of all claims is shown now and was not before.

        Args:
            now_s: the interval's end.
            claims: what all clients together reported in it.
            counts: what the workers counted, without our probes.
            has: which counters the engines of the new and of the old version have.
        """
        if self.left_out:
            return self, Interval()
        new = self.new.add(now_s, claims.new, counts.new, has[0])
        old = self.old.add(now_s, claims.old, counts.old, has[1])
        wrong = [
            f"{said} of the {name} version"
            for name, said in (("new", new.contradiction(now_s, has[0])), ("old", old.contradiction(now_s, has[1])))
            if said
        ]
        audit = replace(self, new=new, old=old, left_out="; ".join(wrong))
        if wrong:
            return audit, Interval()
        return audit, Interval(new.shown.since(self.new.shown), old.shown.since(self.old.shown))

    def unreached(self, now_s: float, *, new: bool) -> ClaimAudit:
        """Note that a probe of ours found no connection to a version."""
        if new:
            return replace(self, new=replace(self.new, unreached_s=now_s))
        return replace(self, old=replace(self.old, unreached_s=now_s))


def _confirm_by_probe(account: VersionClaims, now_s: float) -> VersionClaims:
    """Excuse errors that clients claim around a failed connection of ours.

    These are errors that are claimed around the time at which a probe of ours found no connection.
    """
    if now_s - account.unreached_s > SLACK_S:
        return account
    unseen = account.claimed.errors - account.dropped_errors - account.counted.errors
    return replace(account, probe_confirmed_errors=max(account.probe_confirmed_errors, unseen))


def _show(account: VersionClaims, has: EngineCounters) -> VersionClaims:
    """Show the claims that the counters cover.

    What was shown once stays so, as it has been judged.
    """
    room = (account.counted.arrivals if has.counts_arrivals else account.counted.steps) + account.probe_confirmed_errors
    claimed, shown = account.claimed, account.shown
    errors = max(shown.server_errors, min(claimed.errors - account.dropped_errors, _error_limit(account, has)))
    more = RequestCounts(
        ok=max(shown.ok, min(claimed.ok, room - errors if has.counts_arrivals else room)),
        server_errors=errors,
        arrivals=max(shown.arrivals, min(claimed.arrivals, room)),
        origin=claimed.origin,
    )
    return replace(account, shown=more)


def _error_limit(account: VersionClaims, has: EngineCounters) -> int:
    """Return how many of the claimed errors have a counterpart.

    What our gateway calls an error is none of a caller's mistakes, so one that an engine counted as such is no counterpart: a call that
    gRPC refused beneath the engine, beside one that its caller left, would be an error of the version's.
    """
    # Errors that an engine does not count are told all the same: what rests on them alone never fails a version.
    if not has.counts_errors:
        return account.claimed.errors
    confirmed, of_gateway = account.probe_confirmed_errors, account.claimed.gateway_errors
    shown_of_gateway = min(of_gateway, account.counted.server_errors + confirmed)
    return min(account.counted.errors + confirmed, account.claimed.errors - of_gateway + shown_of_gateway)


def _drop_old_errors(account: VersionClaims, now_s: float, has: EngineCounters) -> VersionClaims:
    """Give up waiting for what shows errors that are covered."""
    due = account.due(now_s)
    if due is None or account.contradiction(now_s, has):
        return account
    return replace(
        account,
        dropped_errors=account.dropped_errors + max(0, due.errors - account.shown.errors - account.dropped_errors),
    )
