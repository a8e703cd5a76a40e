"""Reads the requests of a stream, so that a caller who leaves costs no memory.

What is taken for a read that is under way, gRPC's asyncio library gives back only where somebody awaits the read's end: a server that
has the read cancelled, as it does by itself when a caller cancels, loses some 100 bytes for each stream, for ever (grpc/grpc#43360,
as of 1.85). So a read that has begun goes on until its call is over, in a task that nobody cancels.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, Self, cast

import grpc.aio

Context = grpc.aio.ServicerContext[Any, Any]

EOF: Final[object] = cast(Any, grpc.aio).EOF  # the stubs lack it
"""There are no more requests."""

_begun: set[asyncio.Task[object]] = set()
"""Reads whose stream may have ended: the event loop alone keeps no task alive."""


class RequestReader:
    """Reads one call's requests, one after the other; one task at a time may read.

    Args:
        context: the call.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._pending: asyncio.Task[object] | None = None

    async def read(self) -> object:
        """Return the next request, or ``EOF``.

        Whoever waits here may be cancelled; the next to read gets what this one would have got.

        Raises:
            asyncio.CancelledError: the caller has cancelled the call.
        """
        if self._pending is None:
            self._pending = asyncio.ensure_future(self._context.read())
            _begun.add(self._pending)
            self._pending.add_done_callback(_forget)
        await asyncio.wait({self._pending})
        ended, self._pending = self._pending, None
        return ended.result()

    def __aiter__(self) -> Self:
        """Read until there are no more."""
        return self

    async def __anext__(self) -> Any:  # noqa: ANN401 - bytes, or what the method's deserializer makes of them
        """Return the next request; ends the loop after the last one."""
        request = await self.read()
        if request is EOF:
            raise StopAsyncIteration
        return request


def _forget(ended: asyncio.Task[object]) -> None:
    """Let go of a read that has ended, by whatever end: its stream may be gone."""
    _begun.discard(ended)
    if not ended.cancelled():
        ended.exception()
