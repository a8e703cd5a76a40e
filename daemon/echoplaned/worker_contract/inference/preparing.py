"""Prepares costly requests in threads of its own before they are queued.

So the event loop goes on reporting meanwhile. Connections take turns at these threads, and each has a share of the bytes that may wait
for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Final, TypeVar

from echoplaned.core.budgets import Budget, BudgetExceededError
from echoplaned.worker_contract.inference.errors import InvalidInputError, OverloadedError
from echoplaned.worker_contract.inference.fair_permits import FairPermits

THREADS: Final = 4
MAX_WAITING_BYTES: Final = 64 * 1024 * 1024
"""Of requests that wait for, or are in, these threads."""

_SMALL_BYTES: Final = 1024 * 1024
"""Up to so much a connection may have waiting out of the half that is kept for those with little."""

DEADLINE_S: Final = 10.0

INLINE_ELEMENTS: Final = 4096
"""Characters, or token ids, that the loop itself takes: about a millisecond; more goes to a thread, so that the loop stays free."""

ELEMENT_BYTES: Final = 8
"""What an element of a request counts as."""

T = TypeVar("T")


class Preparer:
    """Reads values and makes tokens of texts beside the event loop.

    Native code cannot be stopped: what runs beyond the deadline is answered, and keeps its thread until it ends.

    Args:
        deadline_s: longest time of one request, in seconds, from when its turn has come.
        threads: how many run at a time. Several are of no use for what is Python's alone: each has the loop and the model's steps wait
            longer for the interpreter's lock.
        what: what did not end, as the error of one that takes too long says.
    """

    def __init__(
        self, deadline_s: float = DEADLINE_S, threads: int = THREADS, what: str = "the version's tokenizer"
    ) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="prepare")
        self._deadline_s = deadline_s
        self._what = what
        self._bytes = Budget("bytes of requests that are being read", MAX_WAITING_BYTES, small=_SMALL_BYTES)
        self._idle = FairPermits(threads)

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the requests that are being read, or wait for it."""
        return self._bytes.used

    async def run(self, work: Callable[[], T], size_bytes: int, peer: str = "") -> T:
        """Return what some work for a connection returns, or raise what it raises.

        What is larger than a connection's share takes the share as a whole: it waits for the connection's others, and is not refused for
        good.

        Raises:
            OverloadedError: too much waits already, in all or of this connection, or no thread became free in time.
            InvalidInputError: the work itself did not end in time.
        """
        size_bytes = min(size_bytes, self._bytes.share)
        try:
            self._bytes.acquire(peer, size_bytes)
        except BudgetExceededError as refused:
            raise OverloadedError(str(refused)) from None
        with ExitStack() as undo:
            undo.callback(self._bytes.release, peer, size_bytes)
            await self._turn(peer)
            undo.pop_all()
        done = asyncio.get_running_loop().run_in_executor(self._threads, work)
        # Native code that goes on beyond the deadline, or after its caller has gone, keeps its thread and its bytes.
        done.add_done_callback(lambda ended: self._ended(ended, peer, size_bytes))
        try:
            async with asyncio.timeout(self._deadline_s):
                return await asyncio.shield(done)
        except TimeoutError:
            raise InvalidInputError(
                f"{self._what} did not end within {self._deadline_s:g} s for this request"
            ) from None

    async def _turn(self, peer: str) -> None:
        """Wait until a thread is this work's."""
        if self._idle.try_acquire():
            return
        try:
            async with asyncio.timeout(self._deadline_s):
                await self._idle.acquire(peer)
        except TimeoutError:
            raise OverloadedError(f"no thread was free for {self._deadline_s:g} s to read the request") from None

    def _ended(self, done: asyncio.Future[T], peer: str, size_bytes: int) -> None:
        if not done.cancelled():
            done.exception()  # perhaps nobody is left to ask for it, and asyncio would complain in the log
        self._bytes.release(peer, size_bytes)
        self._idle.release()
