"""Announcements: appended by the loop, followed by watchers.

The newest are in memory, older ones are read from the store.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from echoplaned.core.effects import Announce

ANNOUNCES_IN_MEMORY = 1000
PAGE = 500

ReadStored = Callable[[int, int], tuple[Announce, ...]]
"""Return at most ``limit`` stored announcements after a sequence number; blocking."""


class AnnounceLog:
    """The announcements of this daemon, in order of their sequence numbers."""

    def __init__(self, read_stored: ReadStored) -> None:
        self._read_stored = read_stored
        self._recent: deque[Announce] = deque(maxlen=ANNOUNCES_IN_MEMORY)
        self._arrived = asyncio.Event()

    def append(self, announce: Announce) -> None:
        """Add one that is committed, and wake the followers."""
        self._recent.append(announce)
        self._arrived.set()
        self._arrived = asyncio.Event()

    async def follow(self, after_sequence: int) -> AsyncIterator[Announce]:
        """Yield every announcement after a sequence number, then new ones as they come.

        It goes on for as long as the caller listens.
        """
        position = after_sequence
        while True:
            arrived = self._arrived
            found = await self._after(position)
            for announce in found:
                position = announce.sequence
                yield announce
            # After a start nothing is in memory until something happens: then only an empty page says that there are no more.
            is_last = self._recent[-1].sequence <= position if self._recent else not found
            if is_last and arrived is self._arrived:
                await arrived.wait()

    async def _after(self, position: int) -> tuple[Announce, ...]:
        if self._recent and self._recent[0].sequence <= position + 1:
            return tuple(a for a in self._recent if a.sequence > position)
        stored = await asyncio.to_thread(self._read_stored, position, PAGE)
        return stored or tuple(a for a in self._recent if a.sequence > position)
