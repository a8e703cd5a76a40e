"""Streams of requests, counted and read in one place.

They are reflection's, and those of methods that refuse each request. A stream costs some 30 KiB while it is open, so a connection has
a share of them, and one that asks for nothing ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final, NoReturn, TypeAlias, cast

import grpc
import grpc.aio
import structlog
from google.protobuf.message import Message
from grpc_status import rpc_status

from echoplaned.core.errors import FieldInvalidError, LimitExceededError
from echoplaned.request_reader import EOF, RequestReader
from echoplaned.rpc.following import Watchers, closing
from echoplaned.rpc.status import to_trailer
from echoplaned.rpc.validate import parse

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = Any

MAX_STREAMS: Final = 1000
SILENCE_S: Final = 30.0

log = structlog.stdlib.get_logger(__name__)


class RequestStreams:
    """Reads the requests of every such stream, whichever server it came to.

    Args:
        limit: streams that are open at once, half of them one connection's at most.
        silence_s: how long the next request may take, in seconds.
    """

    def __init__(self, limit: int = MAX_STREAMS, silence_s: float = SILENCE_S) -> None:
        self._open = Watchers(limit, "streams of requests")
        self._silence_s = silence_s

    def wrap(self, method: str, handler: Handler) -> Handler:
        """Return the handler of a method with a stream of requests, read and counted here.

        Bytes that are no request end the stream with INVALID_ARGUMENT, a silence with DEADLINE_EXCEEDED.
        """

        async def call(_messages: object, context: Context) -> AsyncIterator[Message]:
            try:
                with self._open.reserve(context.peer()):
                    requests = self._read(method, handler, context)
                    async with closing(handler.stream_stream(requests, context)) as answers:
                        async for answer in answers:
                            yield answer
            except LimitExceededError as refused:
                _log(method, context, grpc.StatusCode.RESOURCE_EXHAUSTED, str(refused))
                await cast(Any, context).abort_with_status(rpc_status.to_status(to_trailer(refused.failure)))

        return grpc.stream_stream_rpc_method_handler(cast(Any, call), response_serializer=handler.response_serializer)

    async def _read(self, method: str, handler: Handler, context: Context) -> AsyncIterator[Message]:
        reader = RequestReader(context)
        while (raw := await self._next(method, reader, context)) is not EOF:
            try:
                request = parse(cast(bytes, raw), handler.request_deserializer, method)
            except FieldInvalidError as error:
                await _end(method, context, grpc.StatusCode.INVALID_ARGUMENT, str(error))
            yield request

    async def _next(self, method: str, reader: RequestReader, context: Context) -> object:
        """Return the next request's bytes, or ``EOF``."""
        try:
            async with asyncio.timeout(self._silence_s):
                return await reader.read()
        except TimeoutError:
            text = f"no request came for {self._silence_s:g} s: call again"
            await _end(method, context, grpc.StatusCode.DEADLINE_EXCEEDED, text)


async def _end(method: str, context: Context, code: grpc.StatusCode, reason: str) -> NoReturn:
    _log(method, context, code, reason)
    await context.abort(code, reason)
    raise AssertionError("abort always raises")  # for the type checker: the stub says that it returns


def _log(method: str, context: Context, code: grpc.StatusCode, reason: str) -> None:
    log.info("rpc.ended", method=method, peer=context.peer(), code=code.name, reason=reason)
