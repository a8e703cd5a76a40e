"""A semaphore at which connections take turns.

Few calls may go on at once, and each connection may have so many calls waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from echoplaned.core.budgets import Budget, BudgetExceededError
from echoplaned.core.errors import LimitExceededError
from echoplaned.core.fair_queue import FairQueue


class FairSemaphore:
    """Lets a fixed number of calls in at once, the connections in turn.

    For the event loop's thread only.

    Invariant: while a call waits, every slot is taken; a slot that comes free goes straight to the next in turn.

    Args:
        slots: calls at once.
        waiting: calls that may wait, of which a connection has its share.
    """

    def __init__(self, slots: int, waiting: Budget) -> None:
        self._free = slots
        self._budget = waiting
        self._queue: FairQueue[asyncio.Future[None]] = FairQueue()

    @asynccontextmanager
    async def acquire(self, peer: str) -> AsyncIterator[None]:
        """Wait for a turn and have it while the block runs.

        Raises:
            LimitExceededError: too many of the connection's calls, or of all, wait already.
        """
        await self._wait(peer)
        try:
            yield
        finally:
            self._release()

    async def _wait(self, peer: str) -> None:
        if self._free:
            self._free -= 1
            return
        try:
            self._budget.acquire(peer)
        except BudgetExceededError as refused:
            raise LimitExceededError(self._budget.what, str(refused), 5.0) from None
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put(peer, mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self._release()  # the turn came together with the cancellation, and is passed on
            else:
                self._queue.drop(lambda each: each is mine)
            raise
        finally:
            self._budget.release(peer)

    def _release(self) -> None:
        while len(self._queue):
            following = self._queue.pop()
            if not following.done():
                following.set_result(None)
                return
        self._free += 1
