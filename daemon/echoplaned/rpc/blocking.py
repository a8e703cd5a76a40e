"""Blocking calls of doors, in threads of their own, the smallest first.

So many are made at once; the others wait, of a connection its share.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from echoplaned.core.budgets import Budget, BudgetExceededError
from echoplaned.core.errors import LimitExceededError
from echoplaned.rpc.peer import current_peer

T = TypeVar("T")


def _nothing() -> None:
    """Do nothing: the call is short, and ends by itself."""


class BlockingCalls:
    """Threads for one kind of call, which nothing else waits for.

    A place is free when its thread is: a caller that gives up while its call goes on takes its place with it, or else a few callers that
    come and go would keep any number of calls running.

    Args:
        name: name of the threads, and of what is waited for in the error when too many calls do.
        at_once: calls at a time.
        max_waiting: calls that may wait, of which a connection has its share; more are refused.
    """

    def __init__(self, name: str, at_once: int, max_waiting: int) -> None:
        self._free = at_once
        self._waiting = Budget(f"calls that wait for {name}", max_waiting)
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix=name)
        self._queue: list[tuple[int, int, asyncio.Future[None]]] = []
        self._count = 0

    async def run(self, call: Callable[[], T], *, size: int = 0, give_up: Callable[[], None] = _nothing) -> T:
        """Run a call when it is its turn, and return what it returns.

        Args:
            call: blocks.
            size: how much it has to do; less goes first.
            give_up: called when nobody waits for the call any more, so that it may end early.

        Raises:
            LimitExceededError: too many of the connection's calls, or of all, wait already.
        """
        await self._turn(size)
        job = asyncio.get_running_loop().run_in_executor(self._threads, call)
        job.add_done_callback(self._ended)
        try:
            # Cancelled, the call would be forgotten and not ended: a thread knows nothing of its caller.
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            give_up()
            raise

    async def _turn(self, size: int) -> None:
        if self._free > 0:
            self._free -= 1
            return
        peer = current_peer()
        try:
            self._waiting.acquire(peer)
        except BudgetExceededError as refused:
            raise LimitExceededError(self._waiting.what, str(refused), 5.0) from None
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._queue, (size, self._count, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._pass_on()  # its turn came in the same moment
            raise
        finally:
            self._waiting.release(peer)

    def _ended(self, job: asyncio.Future[T]) -> None:
        if not job.cancelled():
            job.exception()  # where nobody waits any more, nobody else would look at it
        self._pass_on()

    def _pass_on(self) -> None:
        """Give a free place to the smallest call that still waits."""
        while self._queue:
            _, _, turn = heapq.heappop(self._queue)
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
