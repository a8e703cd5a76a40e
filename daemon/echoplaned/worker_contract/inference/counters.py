"""Counters of the calls of this worker, by how they ended.

They begin at 0 with the process and only grow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from echoplaned.worker_contract.inference.errors import Blame


class Call:
    """One call under way, which ends exactly once.

    It ends as the server's fault if nobody said otherwise.
    """

    __slots__ = ("_counters", "_ended")

    def __init__(self, counters: RequestCounters) -> None:
        self._counters = counters
        self._ended = False

    def succeed(self) -> None:
        """The caller got its answer."""
        if self._end():
            self._counters.ok += 1

    def fail(self, blame: Blame) -> None:
        """The caller got an error, or nothing."""
        if self._end():
            match blame:
                case Blame.CLIENT:
                    self._counters.client_errors += 1
                case Blame.SERVER:
                    self._counters.server_errors += 1
                case Blame.LOAD:
                    self._counters.overloads += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.fail(Blame.SERVER)

    def _end(self) -> bool:
        if self._ended:
            return False
        self._ended = True
        self._counters.in_flight -= 1
        return True


class RequestCounters:
    """Running totals; owned by the event loop.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.calls = 0
        self.arrivals = 0
        self.ok = 0
        self.client_errors = 0
        self.server_errors = 0
        self.overloads = 0
        self.in_flight = 0
        self._last_arrival_s: float | None = None

    @property
    def seconds_since_last_arrival(self) -> float | None:
        """Seconds since a call came that was no probe; None: none has."""
        return None if self._last_arrival_s is None else self._clock() - self._last_arrival_s

    def begin(self, *, probe: bool = False) -> Call:
        """Count an arrival and return the call.

        ``probe``: the daemon's own, after which no other call need be expected.
        """
        self.arrivals += 1
        self.in_flight += 1
        if not probe:
            self._last_arrival_s = self._clock()
        return Call(self)
