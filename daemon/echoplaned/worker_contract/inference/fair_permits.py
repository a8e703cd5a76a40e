"""Permits that connections take turns at."""

from __future__ import annotations

import asyncio

from echoplaned.core.fair_queue import FairQueue


class FairPermits:
    """So many permits, which connections take turns at.

    Who finds none waits for one that comes back.

    Event loop only.

    Invariant: while somebody waits, every permit is taken; one that comes back goes straight to the next in turn.

    Args:
        count: permits in all.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: FairQueue[asyncio.Future[None]] = FairQueue()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def try_acquire(self) -> bool:
        """Take a permit if one is free."""
        if not self._free:
            return False
        self._free -= 1
        return True

    async def acquire(self, peer: str) -> None:
        """Take a permit for a connection, as soon as one is free and its turn has come."""
        if self.try_acquire():
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.put(peer, mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self.release()  # the turn came together with the end of its wait, and is passed on
            else:
                self._waiting.remove(peer, mine)
            raise

    def release(self) -> None:
        """Give a permit back."""
        while len(self._waiting):
            following = self._waiting.pop()
            if not following.done():
                following.set_result(None)
                return
        self._free += 1
