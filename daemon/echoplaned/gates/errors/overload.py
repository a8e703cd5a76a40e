"""Overload: requests that were refused for want of room or of time.

Such a request found no room, or less time than the load allowed. They are counted apart, and are no verdict on a version.

A queue that is full fails many requests in a row, so they say little more than one: no test that counts requests may count them. What
they say is said at equal load alone. In a span in which the new version was overloaded while the old one took at least as many requests
without, the new one cannot take what the old one can, and more traffic would make it worse: the stage waits. In any other
span it had more to do, or both had too much, and the stage waits only until that is over.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from echoplaned.ports.request_counts import Interval

SPAN_S = 2.0
"""Requests of so long a time are compared: a queue fills and empties within it."""

RECENT_S = 10.0
"""An overload is over when there was none for so long."""

MAX_UNEQUAL_SPANS = 2
"""So many spans may speak against the new version: one burst can fall into two."""


@dataclass(frozen=True, slots=True)
class Overload:
    """What is known of the versions' overloads in a window.

    Attributes:
        began_s: when the open span began, seconds since the epoch.
        span: counts of the open span.
        worse_spans: spans in which the new version alone was overloaded, with no more requests than the old one.
        last_s: when the new version was last overloaded, seconds since the epoch; None: not in this window.
    """

    began_s: float
    span: Interval = field(default_factory=Interval)
    worse_spans: int = 0
    last_s: float | None = None

    @property
    def is_worse(self) -> bool:
        """Whether the new version cannot take what the old one takes."""
        return self.worse_spans > MAX_UNEQUAL_SPANS

    def is_recent(self, now_s: float) -> bool:
        """Whether the new version is overloaded at present."""
        return self.last_s is not None and now_s - self.last_s < RECENT_S


def observe(overload: Overload, now_s: float, counts: Interval) -> Overload:
    """Add an interval of the workers' counts."""
    span = overload.span + counts
    last_s = now_s if counts.new.overloads else overload.last_s
    if now_s - overload.began_s < SPAN_S:
        return replace(overload, span=span, last_s=last_s)
    worse = span.new.overloads > 0 and span.old.overloads == 0 and span.old.seen >= span.new.seen
    return Overload(now_s, worse_spans=overload.worse_spans + worse, last_s=last_s)
