"""Streams of requests that wait for their next one: so many at once, for so long.

One costs some 25 KiB and no call of any counter.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, NoReturn

import grpc
import grpc.aio

from echoplaned.core.budgets import Budget, BudgetExceededError
from echoplaned.request_reader import RequestReader

MAX_IDLE: Final = 4096
"""Streams that wait at once, of a connection half: it may open as many as it may have calls, all at once."""

SILENCE_S: Final = 600.0

Context = grpc.aio.ServicerContext[Any, Any]


class IdleStreams:
    """Reads the requests of every stream of a service.

    A stream counts while it waits for a request, and not while one is answered.

    Args:
        limit: streams that wait at once, of a connection half.
        silence_s: how long one may wait, in seconds.
    """

    def __init__(self, limit: int = MAX_IDLE, silence_s: float = SILENCE_S) -> None:
        self._waiting = Budget("streams that wait for a request", limit)
        self._silence_s = silence_s

    async def read(self, reader: RequestReader, context: Context, peer: str) -> Any:  # noqa: ANN401 - as the reader's
        """Return a connection's next request, or ``EOF``.

        The stream ends here where too many wait, or no request comes.
        """
        try:
            self._waiting.acquire(peer)
        except BudgetExceededError as refused:
            await _end(context, grpc.StatusCode.RESOURCE_EXHAUSTED, str(refused))
        try:
            async with asyncio.timeout(self._silence_s):
                return await reader.read()
        except TimeoutError:
            text = f"no request came for {self._silence_s:g} s: call again"
            await _end(context, grpc.StatusCode.DEADLINE_EXCEEDED, text)
        finally:
            self._waiting.release(peer)


async def _end(context: Context, code: grpc.StatusCode, reason: str) -> NoReturn:
    await context.abort(code, reason)
    raise AssertionError("abort always raises")  # for the type checker: the stub says that it returns
