"""Predicts how long a step of the model takes, by its size in tokens.

A prediction exists for the step under way even where none of its size was seen before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

_REMEMBERED_S: Final = 600.0
_STEPS_TIMED: Final = 64
_STALL_FACTOR: Final = 4.0
_STALL_MIN_S: Final = 1.0


class StepTimes:
    """Times the steps of one inference thread.

    That thread alone calls ``began`` and ``ended``; anybody may read.

    A long prompt may take a hundred times what any step before it took, so what is expected goes by tokens: by the largest step of the
    last ten minutes, whose time is the least overhead.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._largest = (0, 0.0)
        self._largest_at_s = clock()
        self._under_way: tuple[int, float] | None = None
        self._recent_s: deque[float] = deque(maxlen=_STEPS_TIMED)

    @property
    def expected_s(self) -> float:
        """Seconds that the step under way is expected to take; 0: unknown.

        0 as well where no step is under way.
        """
        under_way, (tokens, took_s) = self._under_way, self._largest
        if under_way is None or not tokens:
            return 0.0
        return took_s * max(1.0, under_way[0] / tokens)

    @property
    def is_stalled(self) -> bool:
        """Whether the step under way takes far longer than nearly all before it.

        Those before it count whatever their sizes.

        Read by the event loop while the inference thread goes on: a copy of what that one writes, and one value that it sets last.
        """
        under_way = self._under_way
        if under_way is None:
            return False
        times_s = sorted(self._recent_s.copy())
        usual_s = times_s[(9 * (len(times_s) - 1)) // 10] if times_s else 0.0
        return self._clock() - under_way[1] > max(_STALL_MIN_S, _STALL_FACTOR * usual_s)

    def began(self, tokens: int) -> None:
        """A step begins; ``tokens``: padded, of all its rows."""
        self._under_way = (max(1, tokens), self._clock())

    def ended(self) -> None:
        """The step that began is over."""
        if self._under_way is None:
            return
        tokens, began_s = self._under_way
        self._under_way, now_s = None, self._clock()
        self._recent_s.append(now_s - began_s)
        if tokens >= self._largest[0] or now_s - self._largest_at_s > _REMEMBERED_S:
            self._largest, self._largest_at_s = (tokens, now_s - began_s), now_s
