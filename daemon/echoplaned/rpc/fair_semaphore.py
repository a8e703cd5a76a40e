"""A semaphore at which connections take turns.

Few calls may go on at once, and each connection may have so many calls waiting.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from echoplaned.core.budgets import Budget, BudgetExceededError
from echoplaned.core.errors import LimitExceededError
from echoplaned.worker_contract.inference.fair_permits import FairPermits


class FairSemaphore:
    """Lets a fixed number of calls in at once, the connections in turn.

    For the event loop's thread only.

    Args:
        slots: calls at once.
        waiting: calls that may wait, of which a connection has its share.
    """

    def __init__(self, slots: int, waiting: Budget) -> None:
        self._permits = FairPermits(slots)
        self._budget = waiting

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
            self._permits.release()

    async def _wait(self, peer: str) -> None:
        if self._permits.try_acquire():
            return
        try:
            self._budget.acquire(peer)
        except BudgetExceededError as refused:
            raise LimitExceededError(self._budget.what, str(refused), 5.0) from None
        try:
            await self._permits.acquire(peer)
        finally:
            self._budget.release(peer)
