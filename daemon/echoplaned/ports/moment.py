"""A moment by two clocks: what of the time outlives the daemon."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment by the daemon's own clock, and by one that nobody can set.

    Attributes:
        time_s: by the daemon's clock, seconds since the epoch.
        boot_id: id of the boot of the machine that ``boot_s`` counts from.
        boot_s: seconds since that boot, time asleep included.
    """

    time_s: float
    boot_id: str
    boot_s: float


Now = Callable[[], Moment]
"""Read both clocks."""
