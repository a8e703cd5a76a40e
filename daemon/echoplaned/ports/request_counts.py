"""What was counted of the requests to one version.

One form of it from the load report to the verdict.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

from echoplaned.core.numbers import clamp_count


class CountedBy(StrEnum):
    """Who counted requests.

    LRS: clients, by their load reports. WORKER: the instances themselves.
    """

    LRS = "LRS"
    WORKER = "WORKER"


@dataclass(frozen=True, slots=True)
class RequestCounts:
    """Requests of one version: a running total, or what came in a span of time.

    Attributes:
        ok: requests that ended well.
        client_errors: requests that ended in a mistake of the caller's.
        server_errors: requests that ended in any other error; a source that cannot tell puts all errors here.
        arrivals: requests that began.
        in_flight: requests under way at the end of the span.
        latency_bucket_counts: ended requests by latency bucket; empty: not counted.
        origin: who counted them.
        unreported: requests that may have arrived and that nobody tells of any more: of engines that went without a last report.
        steps: steps that the model computed, for any request or none.
        overloads: requests that ended unanswered for want of room or time, which is no error of the version's.
        calls: calls of any kind that reached the version, requests among them; 0: not counted.
        gateway_errors: of the server errors those that our gateway reports: it tells callers' mistakes apart itself.
    """

    ok: int = 0
    client_errors: int = 0
    server_errors: int = 0
    arrivals: int = 0
    in_flight: int = 0
    latency_bucket_counts: tuple[int, ...] = ()
    origin: CountedBy = CountedBy.WORKER
    unreported: int = 0
    steps: int = 0
    overloads: int = 0
    calls: int = 0
    gateway_errors: int = 0

    @property
    def requests(self) -> int:
        """Requests that ended, but for overloads: those that say something of the version."""
        return self.ok + self.client_errors + self.server_errors

    @property
    def errors(self) -> int:
        """Requests that ended in an error of either kind."""
        return self.client_errors + self.server_errors

    @property
    def seen(self) -> int:
        """Requests that are known to have reached the version.

        The larger of what began and what ended: a source may have counted either end alone.
        """
        return max(self.arrivals, self.requests + self.overloads)

    def __add__(self, other: RequestCounts) -> RequestCounts:
        """Add field by field; the origin is that of the counts that are added.

        No sum passes ``MAX_COUNT`` but those of ``unreported``, ``steps``, ``overloads`` and ``calls``, which have no bound here.
        """
        return RequestCounts(
            clamp_count(self.ok + other.ok),
            clamp_count(self.client_errors + other.client_errors),
            clamp_count(self.server_errors + other.server_errors),
            clamp_count(self.arrivals + other.arrivals),
            clamp_count(self.in_flight + other.in_flight),
            _add_buckets(self.latency_bucket_counts, other.latency_bucket_counts),
            other.origin,
            self.unreported + other.unreported,
            self.steps + other.steps,
            self.overloads + other.overloads,
            self.calls + other.calls,
            clamp_count(self.gateway_errors + other.gateway_errors),
        )

    def since(self, earlier: RequestCounts) -> RequestCounts:
        """Return what came on top of an earlier total.

        A field that fell (its source began again) counts as nothing.
        """
        buckets: tuple[int, ...] = self.latency_bucket_counts
        if len(buckets) == len(earlier.latency_bucket_counts):
            pairs = zip(buckets, earlier.latency_bucket_counts, strict=True)
            buckets = tuple(max(0, after - before) for after, before in pairs)
        return RequestCounts(
            max(0, self.ok - earlier.ok),
            max(0, self.client_errors - earlier.client_errors),
            max(0, self.server_errors - earlier.server_errors),
            max(0, self.arrivals - earlier.arrivals),
            self.in_flight,
            buckets,
            self.origin,
            max(0, self.unreported - earlier.unreported),
            max(0, self.steps - earlier.steps),
            max(0, self.overloads - earlier.overloads),
            max(0, self.calls - earlier.calls),
            max(0, self.gateway_errors - earlier.gateway_errors),
        )

    def at_rest(self) -> RequestCounts:
        """Return the same counts with nothing under way: whoever counted them has gone."""
        return replace(self, in_flight=0)


NOTHING = RequestCounts()


@dataclass(frozen=True, slots=True)
class Interval:
    """What one source counted for both versions in the same span of time.

    Attributes:
        new: requests of the new version.
        old: requests of the old version.
    """

    new: RequestCounts = NOTHING
    old: RequestCounts = NOTHING

    def __add__(self, other: Self) -> Interval:
        return Interval(self.new + other.new, self.old + other.old)

    @property
    def requests(self) -> int:
        """Requests that ended, of both versions."""
        return self.new.requests + self.old.requests

    @property
    def seen(self) -> int:
        """Requests that are known to have reached either version."""
        return self.new.seen + self.old.seen

    @property
    def share(self) -> float:
        """The new version's observed share of the requests, 0 to 1.

        0 where there were none.

        The larger of its share of what began and of what ended: a version whose errors come back faster than the other's
        answers would otherwise show a share that is too small, and its errors would be counted as too surprising.
        """
        ended = self.new.requests / self.requests if self.requests else 0.0
        began_total = self.new.arrivals + self.old.arrivals
        began = self.new.arrivals / began_total if began_total else 0.0
        return max(ended, began)


def _add_buckets(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...]:
    """Add bucket by bucket; a side that was not counted adds nothing.

    Buckets of other bounds cannot be added: the result is empty.
    """
    if not first or not second:
        return first or second
    return tuple(clamp_count(a + b) for a, b in zip(first, second, strict=True)) if len(first) == len(second) else ()
