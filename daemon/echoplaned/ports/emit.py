"""What every adapter is given: a way to send events, and a clock."""

from __future__ import annotations

from collections.abc import Callable

from echoplaned.core.events import Event

Emit = Callable[[Event], None]
"""Send an event to the loop; never blocks, may be called from the loop's thread only."""

Clock = Callable[[], float]
"""Seconds since the epoch."""
