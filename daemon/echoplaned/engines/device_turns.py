"""Lets one engine at a time start on a GPU, if it measures the free memory.

Such engines look what is free there and take it for their own. They profile the whole card: memory that another allocates meanwhile is
charged to them, and memory that another frees trips an assertion of their own (vLLM issues 55827 and 56830). Engines that ask for what
they need, and host memory, never wait.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from typing import Final

from echoplaned.engine_kinds import EngineKind

_HOST: Final = "host"


class DeviceTurns:
    """Says whose turn it is on each device. Everything happens on the event loop."""

    def __init__(self) -> None:
        self._starting: Counter[str] = Counter()
        self._ended = asyncio.Event()

    @contextlib.asynccontextmanager
    async def start(
        self, kind: EngineKind, device_ids: Sequence[str], *, is_running: bool = False
    ) -> AsyncGenerator[None]:
        """Wait for a start's turn, and hold it from the spawn until it is ready or over.

        Args:
            kind: what is started.
            device_ids: where.
            is_running: whether it was spawned already, by a daemon before this one: it cannot wait, but others wait for it.
        """
        measured = [one for one in device_ids if kind.measures_free_memory and one != _HOST]
        # Looked at and taken without a pause between: of those that are woken together the first takes the turn.
        while not is_running and any(self._starting[one] for one in measured):
            await self._ended.wait()
        self._starting.update(measured)
        try:
            yield
        finally:
            self._starting.subtract(measured)
            ended, self._ended = self._ended, asyncio.Event()
            ended.set()
