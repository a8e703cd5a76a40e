"""A stream of messages as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from google.protobuf.message import Message

from echoplane.v1 import diagnostics_pb2
from echoplaned.rpc.rest.sse import to_events

QUIET_S = 60.0


class Source:
    """Messages that a test gives one by one; knows when it was closed."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[str] = asyncio.Queue()
        self.closed = False

    async def messages(self) -> AsyncIterator[Message]:
        """Yield what is given; an empty text ends it, `fail` breaks it."""
        try:
            while text := await self.queue.get():
                if text == "fail":
                    raise ValueError(text)
                yield diagnostics_pb2.ModelEvent(resume_token=text, text="line\nbreak")
        finally:
            self.closed = True


def events(source: Source, begun: asyncio.Event, heartbeat_s: float = QUIET_S) -> AsyncIterator[object]:
    """Turn a source into events, with its tokens as ids."""
    return to_events(source.messages(), lambda m: str(getattr(m, "resume_token", "")), begun, heartbeat_s)


async def test_each_message_is_one_event() -> None:
    """It has its id and its JSON on one line each, whatever is in it, and the stream ends with its source."""
    source, begun = Source(), asyncio.Event()
    for text in ("a", "b", ""):
        source.queue.put_nowait(text)
    told = [chunk.data.decode() async for chunk in to_events(source.messages(), lambda m: m.resume_token, begun)]  # type: ignore[attr-defined]
    assert told[0] == "retry: 1000\n\n"
    assert [chunk.split("\n")[0] for chunk in told[1:]] == ["id: a", "id: b"]
    assert all(chunk.count("\n") == 3 and chunk.endswith("\n\n") for chunk in told[1:])
    assert source.closed


async def test_what_was_fetched_before_is_judged_when_it_goes() -> None:
    """Messages wait for a reader; what it may not have by then does not go out."""
    source, begun, allowed = Source(), asyncio.Event(), [True]
    for text in ("a", "b", ""):
        source.queue.put_nowait(text)
    stream = to_events(source.messages(), lambda _: "x", begun, QUIET_S, lambda _: allowed[0])
    assert [(await anext(stream)).data[:5] for _ in range(2)] == [b"retry", b"id: x"]
    allowed[0] = False
    assert [chunk async for chunk in stream] == []


async def test_silence_is_filled_with_comments() -> None:
    """A message that comes during a heartbeat is not lost."""
    source, begun = Source(), asyncio.Event()
    begun.set()
    stream = events(source, begun, 0.01)
    assert [(await anext(stream)).data for _ in range(3)] == [b"retry: 1000\n\n", b":\n\n", b":\n\n"]  # type: ignore[attr-defined]
    source.queue.put_nowait("a")
    chunk = b":\n\n"
    while chunk == b":\n\n":
        chunk = (await anext(stream)).data  # type: ignore[attr-defined]
    assert chunk.startswith(b"id: a\n")


async def test_an_error_before_the_beginning_is_raised() -> None:
    """Nothing was sent then, so that the call has a status of its own."""
    source, begun = Source(), asyncio.Event()
    source.queue.put_nowait("fail")
    with pytest.raises(ValueError, match="fail"):
        await anext(events(source, begun))
    assert source.closed


async def test_a_stream_that_is_left_closes_its_source() -> None:
    """Also while it waits for a message."""
    source, begun = Source(), asyncio.Event()
    begun.set()
    stream = to_events(source.messages(), str, begun, 0.01)
    await anext(stream)
    await anext(stream)
    await stream.aclose()
    assert source.closed
