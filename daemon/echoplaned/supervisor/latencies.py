"""Measures latencies of the calls that come through the supervisor.

They are reported where the engine itself tells none.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable
from typing import Final

from echoplaned.core.measure import Histogram, Measure

# As vLLM's, so that versions on different engines are compared bucket by bucket.
_FIRST_S: Final = (
    0.001,
    0.005,
    0.01,
    0.02,
    0.04,
    0.06,
    0.08,
    0.1,
    0.25,
    0.5,
    0.75,
    1.0,
    2.5,
    5.0,
    7.5,
    10.0,
    20.0,
    40.0,
    80.0,
    160.0,
)
_INTER_S: Final = (
    0.01,
    0.025,
    0.05,
    0.075,
    0.1,
    0.15,
    0.2,
    0.3,
    0.4,
    0.5,
    0.75,
    1.0,
    2.5,
    5.0,
    7.5,
    10.0,
    20.0,
    40.0,
    80.0,
)
_END_S: Final = (
    0.01,
    0.025,
    0.05,
    0.1,
    0.2,
    0.3,
    0.5,
    0.8,
    1.0,
    1.5,
    2.0,
    2.5,
    5.0,
    10.0,
    15.0,
    20.0,
    30.0,
    40.0,
    60.0,
    120.0,
    240.0,
)


class _Buckets:
    """One histogram under way."""

    def __init__(self, measure: Measure, bounds_s: tuple[float, ...]) -> None:
        self._measure = measure
        self._bounds_s = bounds_s
        self._counts = [0] * (len(bounds_s) + 1)
        self._sum_s = 0.0

    def add(self, took_s: float) -> None:
        self._counts[bisect.bisect_left(self._bounds_s, took_s)] += 1
        self._sum_s += took_s

    def report(self) -> Histogram:
        return Histogram(self._measure, self._bounds_s, tuple(self._counts), self._sum_s)


class Latencies:
    """Histograms of calls.

    Args:
        now_s: monotonic seconds.
    """

    def __init__(self, now_s: Callable[[], float]) -> None:
        self.now_s = now_s
        self._first = _Buckets(Measure.FIRST_TOKEN, _FIRST_S)
        self._inter = _Buckets(Measure.INTER_TOKEN, _INTER_S)
        self._end = _Buckets(Measure.END_TO_END, _END_S)

    def token(self, began_s: float, before_s: float) -> float:
        """Count a token of a stream that began then, and return the time.

        ``before_s``: when the token before it came, 0: it is the first.
        """
        now_s = self.now_s()
        if before_s:
            self._inter.add(now_s - before_s)
        else:
            self._first.add(now_s - began_s)
        return now_s

    def ended(self, began_s: float) -> None:
        """Count a call that was answered well."""
        self._end.add(self.now_s() - began_s)

    def report(self) -> tuple[Histogram, ...]:
        """Return all of them."""
        return (self._end.report(), self._first.report(), self._inter.report())
