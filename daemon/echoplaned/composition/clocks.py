"""The daemon's clock."""

from __future__ import annotations

import time
from collections.abc import Callable

from echoplaned.runtime.clock import SteadyClock, read_offset
from echoplaned.settings import Settings


def steady_clock(settings: Settings) -> SteadyClock:
    """Return the daemon's clock, which starts at the wall clock's time.

    Tests move the wall clock by a setting, never the machine's.
    """
    return SteadyClock(wall_clock(settings), time.monotonic)


def wall_clock(settings: Settings) -> Callable[[], float]:
    """Return the machine's clock, which may be set meanwhile."""
    return lambda: time.time() + read_offset(settings.test_wall_offset_file)
