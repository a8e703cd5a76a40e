"""One logical call, list or stream of the control API, for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from echoplane.errors import STREAM_ENDED, EchoplaneError, UnavailableError
from echoplane.options import ClientOptions, Outage, with_request_id
from echoplane.paging import PageTokens
from echoplane.rpc_errors import translated

Resp = TypeVar("Resp", bound=Message)


class AsyncCalls:
    """Makes calls as the options say.

    They are tried again, in time, and a stream that breaks is opened again.
    """

    def __init__(self, options: ClientOptions) -> None:
        self._options = options

    async def _call(self, method: Callable[..., Awaitable[Resp]], request: Message, timeout_s: float | None) -> Resp:
        """Make one logical call, with as many attempts as the retry policy allows.

        All of them have the same request id and one deadline.
        """
        options = self._options
        request = with_request_id(request, options.new_id)
        deadline_s = options.clock() + (timeout_s if timeout_s is not None else options.timeout_s)
        attempt = 0
        while True:
            try:
                with translated():
                    return await method(request, timeout=max(deadline_s - options.clock(), 0.001))
            except EchoplaneError as error:
                delay_s = options.retry_delay_s(error, attempt, deadline_s)
                if delay_s is None:
                    raise
            await asyncio.sleep(delay_s)
            attempt += 1

    async def _pages(
        self, method: Callable[..., Awaitable[Resp]], request: Message, timeout_s: float | None
    ) -> AsyncIterator[Resp]:
        """Yield a list's pages, one logical call each.

        The request is changed on the way.
        """
        tokens = PageTokens()
        while True:
            page = await self._call(method, request, timeout_s)
            yield page
            if not tokens.follow(request, page):
                return

    async def _stream(
        self,
        method: Callable[..., grpc.aio.UnaryStreamCall[Any, Resp]],
        again: Callable[[Resp | None], Message | None],
        timeout_s: float | None,
    ) -> AsyncIterator[Resp]:
        """Yield a stream's messages, and open it again where it breaks.

        ``again`` gives the request after the last message, None to end.
        """
        options = self._options
        deadline_s = options.clock() + timeout_s if timeout_s is not None else None
        outage = Outage(options)
        last: Resp | None = None
        while (request := again(last)) is not None:
            outage.on_stream()
            with translated():
                call = method(request, timeout=deadline_s - options.clock() if deadline_s is not None else None)
            broken = None
            try:
                with translated():
                    async for message in call:
                        outage.on_answer()
                        last = message
                        yield message
            except EchoplaneError as error:
                broken = error
            finally:
                call.cancel()
            if broken is None and again(last) is None:
                return
            delay_s = outage.delay_s(broken)
            if delay_s is None:
                raise broken or UnavailableError(STREAM_ENDED)
            # The caller's time ends in the wait where it is the shorter one; the next call then says so.
            left_s = deadline_s - options.clock() if deadline_s is not None else delay_s
            await asyncio.sleep(max(min(delay_s, left_s), 0.0))
