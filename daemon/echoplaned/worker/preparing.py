"""What a request costs before it is queued, where it is no trifle: in threads of its own, so that the loop goes on reporting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from echoplaned.worker_contract.inference.errors import InvalidInputError, OverloadedError

THREADS: Final = 4
MAX_WAITING_BYTES: Final = 64 * 1024 * 1024
"""Of requests that wait for, or are in, these threads."""

DEADLINE_S: Final = 10.0

T = TypeVar("T")


class Preparer:
    """Reads values and makes tokens of texts beside the event loop.

    Native code cannot be stopped: what runs beyond the deadline is answered, and keeps its thread until it ends.

    Args:
        deadline_s: longest time of one request, in seconds, from when its turn has come.
    """

    def __init__(self, deadline_s: float = DEADLINE_S) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="prepare")
        self._deadline_s = deadline_s
        self._waiting_bytes = 0

    async def run(self, work: Callable[[], T], size_bytes: int) -> T:
        """Return what some work returns, or raise what it raises.

        Raises:
            OverloadedError: too much waits already, or no thread became free in time.
            InvalidInputError: the work itself did not end in time.
        """
        if self._waiting_bytes + size_bytes > MAX_WAITING_BYTES:
            raise OverloadedError(
                f"{self._waiting_bytes} bytes of requests are being read; the limit is {MAX_WAITING_BYTES}"
            )
        began = asyncio.Event()
        loop = asyncio.get_running_loop()

        def do() -> T:
            loop.call_soon_threadsafe(began.set)
            return work()

        self._waiting_bytes += size_bytes
        done = loop.run_in_executor(self._threads, do)
        done.add_done_callback(lambda _: self._ended(size_bytes))
        try:
            return await self._in_time(done, began)
        finally:
            if not done.done():
                done.cancel()  # what has not begun never will; what has goes on, and nobody listens

    async def _in_time(self, done: asyncio.Future[T], began: asyncio.Event) -> T:
        try:
            async with asyncio.timeout(self._deadline_s):
                await began.wait()
        except TimeoutError:
            raise OverloadedError(f"no thread was free for {self._deadline_s:g} s to read the request") from None
        try:
            async with asyncio.timeout(self._deadline_s):
                return await asyncio.shield(done)
        except TimeoutError:
            raise InvalidInputError(
                f"the version's tokenizer did not end within {self._deadline_s:g} s for this request"
            ) from None

    def _ended(self, size_bytes: int) -> None:
        self._waiting_bytes -= size_bytes
