"""What one source counted of both versions in a span of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from echoplaned.ports.request_counts import RequestCounts

NOTHING = RequestCounts()


@dataclass(frozen=True, slots=True)
class Interval:
    """What one source counted for the new and for the old version in the same span of time."""

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
        """The new version's observed share of the requests, in [0, 1]; 0 where there were none.

        The larger of its share of what began and of what ended: a version whose errors come back faster than the other's
        answers would otherwise show a share that is too small, and its errors would be counted as too surprising.
        """
        ended = self.new.requests / self.requests if self.requests else 0.0
        began_total = self.new.arrivals + self.old.arrivals
        began = self.new.arrivals / began_total if began_total else 0.0
        return max(ended, began)
