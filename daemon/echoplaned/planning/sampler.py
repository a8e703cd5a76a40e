"""Measures the devices at intervals, and tells the loop what changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from echoplaned.core.events import DeviceMemoryMeasured
from echoplaned.core.state import State
from echoplaned.planning.measuring import Meter, differs
from echoplaned.ports.emit import Clock, Emit
from echoplaned.runtime.faults import contain

INTERVAL_S: Final = 0.5
"""From one look to the next. A look takes about a millisecond, in a thread: a driver that hangs keeps nobody else."""


class MemorySampler:
    """Emits what devices hold, when it changed or when somebody waits for it.

    Args:
        meter: measures.
        emit: takes the events.
        clock: seconds since the epoch.
        state: the newest.
        failed: takes what a look raised that nobody foresaw.
    """

    def __init__(
        self,
        meter: Meter,
        emit: Emit,
        clock: Clock,
        state: Callable[[], State],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._meter = meter
        self._emit = emit
        self._clock = clock
        self._state = state
        self._failed = failed

    async def run(self) -> None:
        """Measure at intervals until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            await self.look()

    async def look(self) -> None:
        """Measure once, and emit what was found if it changed or is waited for."""
        with contain(self._failed):
            found = await asyncio.to_thread(self._meter.measure)
            state = self._state()
            if differs(state.measured, found) or any(model.waits for model in state.models.values()):
                self._emit(DeviceMemoryMeasured(self._clock(), found))

    async def first(self) -> DeviceMemoryMeasured:
        """Return the first measurement: nothing is planned on reservations alone.

        It is empty where the measurement failed.
        """
        found: list[DeviceMemoryMeasured] = []
        with contain(self._failed):
            found.append(DeviceMemoryMeasured(self._clock(), await asyncio.to_thread(self._meter.measure)))
        return found[0] if found else DeviceMemoryMeasured(self._clock(), ())
