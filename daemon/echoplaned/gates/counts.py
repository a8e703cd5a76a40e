"""What was counted in a span of time, by version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Tally:
    """Requests of one version that ended in a span (``ok`` and both kinds of error), and ``arrivals``: those that began in it.

    ``client_errors`` are the callers' own mistakes; a source that cannot tell puts all in ``server_errors``.
    """

    ok: int = 0
    client_errors: int = 0
    server_errors: int = 0
    arrivals: int = 0

    @property
    def requests(self) -> int:
        """Requests that ended."""
        return self.ok + self.client_errors + self.server_errors

    @property
    def errors(self) -> int:
        """Requests that ended in an error of either kind."""
        return self.client_errors + self.server_errors

    @property
    def seen(self) -> int:
        """Requests that are known to have reached the version, whichever end of them was counted."""
        return max(self.arrivals, self.requests)

    def __add__(self, other: Self) -> Tally:
        return Tally(
            self.ok + other.ok,
            self.client_errors + other.client_errors,
            self.server_errors + other.server_errors,
            self.arrivals + other.arrivals,
        )


@dataclass(frozen=True, slots=True)
class Interval:
    """What one source counted for the new and for the old version in the same span of time."""

    new: Tally = Tally()
    old: Tally = Tally()

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
