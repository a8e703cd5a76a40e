"""The daemon's clock: set when the daemon starts, and never while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from echoplaned.ports.moment import Moment, Now
from echoplaned.worker_contract.record import read_boot_id

MIN_SHIFT_S: Final = 1.0
"""Clocks that differ by less agree: one of them was corrected a little, or read a little later."""


class SteadyClock:
    """Seconds since the epoch by a clock that nobody can set.

    It begins with the wall clock's time of when it was made.
    By a wall clock that is put right by an hour, a rollout's stage would be over at once, or last an hour longer.

    Args:
        wall: seconds since the epoch; read once.
        monotonic: seconds of a clock that never goes back.
    """

    def __init__(self, wall: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._offset_s = wall() - monotonic()

    def __call__(self) -> float:
        """Return the time, seconds since the epoch."""
        return self._offset_s + self._monotonic()


def shift_between(last: Moment | None, now: Moment) -> float:
    """Return by how many seconds the daemon's clock was put forward between two runs.

    From a moment that an earlier daemon kept until ``now``; below 0: it was put back.

    Within one boot the time since then is known. After another one it is not, and none counts as gone by: a machine that was off for a
    night has not used up a rollout's time. 0: the clocks agree, or nothing was kept.
    """
    if last is None:
        return 0.0
    elapsed_s = max(0.0, now.boot_s - last.boot_s) if now.boot_id == last.boot_id else 0.0
    shift_s = now.time_s - (last.time_s + elapsed_s)
    return shift_s if abs(shift_s) >= MIN_SHIFT_S else 0.0


def boot_moments(clock: Callable[[], float]) -> Now:
    """Return what reads a daemon's clock beside the time since the machine's boot."""
    boot_id = read_boot_id()
    return lambda: Moment(clock(), boot_id, time.clock_gettime(time.CLOCK_BOOTTIME))


def read_offset(path: Path | None) -> float:
    """Return the seconds that a test's file says; 0: there is no such file."""
    return 0.0 if path is None else float(path.read_text(encoding="ascii"))
