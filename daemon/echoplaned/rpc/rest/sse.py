"""A stream of messages as server-sent events, with heartbeats.

Format: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, Final

from google.api import httpbody_pb2
from google.protobuf.message import Message

from echoplane.googleapis import status_pb2
from echoplaned.rpc.following import closing
from echoplaned.rpc.rest.answers import to_json

EVENT_STREAM: Final = "text/event-stream"
HEARTBEAT_S: Final = 15.0
_PRELUDE: Final = "retry: 1000\n\n"
_HEARTBEAT: Final = ":\n\n"

IdOf = Callable[[Message], str]
MaySend = Callable[[Message | None], bool]
"""Returns whether a message goes out; None: a comment does. What it raises ends the stream."""


def _all(_message: Message | None) -> bool:
    return True


async def to_events(
    source: AsyncIterator[Message],
    id_of: IdOf,
    begun: asyncio.Event,
    heartbeat_s: float = HEARTBEAT_S,
    may_send: MaySend = _all,
) -> AsyncGenerator[httpbody_pb2.HttpBody, None]:
    """Yield a stream's messages as events.

    Args:
        source: the messages; what it raises before it has begun is raised here, and so has a status of its own.
        id_of: a message's event id, by which a client that comes back says what it saw last.
        begun: set where messages will come, though there is none yet.
        heartbeat_s: a comment is sent where there was nothing else for so long, in seconds; proxies and clients drop silent connections.
        may_send: is asked right before each message and comment, so that one which was fetched earlier is judged by what holds now.
    """
    async with closing(source) as messages:
        pending = _next(messages)
        try:
            await _until_begun(pending, begun)
            yield _chunk(_PRELUDE)
            while True:
                await asyncio.wait({pending}, timeout=heartbeat_s)
                if not pending.done():
                    may_send(None)
                    yield _chunk(_HEARTBEAT)
                    continue
                message = pending.result()
                if message is None:
                    return
                if may_send(message):
                    yield _chunk(f"id: {id_of(message)}\ndata: {to_json(message)}\n\n")
                pending = _next(messages)
        finally:
            pending.cancel()
            # Waited for, so that the source can be closed by whoever owns it.
            await asyncio.gather(pending, return_exceptions=True)


def failure_event(status: status_pb2.Status) -> httpbody_pb2.HttpBody:
    """Return the event that says why a stream ends.

    Over HTTP/1.1 there is no other place for it once the stream has begun.
    """
    return _chunk(f"event: failure\ndata: {to_json(status)}\n\n")


def _next(messages: AsyncIterator[Message]) -> asyncio.Future[Message | None]:
    return asyncio.ensure_future(anext(messages, None))


async def _until_begun(pending: asyncio.Future[Message | None], begun: asyncio.Event) -> None:
    begins = asyncio.ensure_future(begun.wait())
    try:
        both: set[asyncio.Future[Any]] = {pending, begins}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if pending.done():
            pending.result()
    finally:
        begins.cancel()
        await asyncio.gather(begins, return_exceptions=True)


def _chunk(text: str) -> httpbody_pb2.HttpBody:
    return httpbody_pb2.HttpBody(content_type=EVENT_STREAM, data=text.encode())
