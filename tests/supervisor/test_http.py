"""HTTP to an engine: connections used again, closed meanwhile, broken, slow, and what is no HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import h11
import pytest

from echoplaned.supervisor.http import (
    BadStatusError,
    EngineAddress,
    EngineAwayError,
    EngineHttp,
    EngineSlowError,
    _split,
)
from echoplaned.supervisor.translating import post
from echoplaned.worker_contract.inference.errors import OverloadedError

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def engine(serve: Serve) -> AsyncIterator[EngineHttp]:
    """Serve connections, and yield a client of them."""
    handling: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handling.add(task)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await serve(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    http = EngineHttp(EngineAddress(port=server.sockets[0].getsockname()[1]))
    try:
        yield http
    finally:
        http.close()
        server.close()
        if handling:
            await asyncio.wait(handling, timeout=5)


def answer(body: bytes, *, status: int = 200) -> bytes:
    """Return an answer of a known length."""
    return b"HTTP/1.1 %d x\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """Read one request with its body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    return head + await reader.readexactly(length)


async def test_connections_are_used_again() -> None:
    """Ten calls one after the other take one connection."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            request = await read_request(reader)
            writer.write(answer(request.partition(b"\r\n\r\n")[2]))

    async with engine(serve) as http:
        for number in range(10):
            assert (await http.call("POST", "/", {"n": number})).json() == {"n": number}
    assert connections == 1


async def test_a_connection_that_was_closed_meanwhile_is_replaced() -> None:
    """An engine may close an idle connection at any time: the call is made on another one."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer(b"1"))
        writer.close()

    async with engine(serve) as http:
        assert (await http.call("GET", "/")).body == b"1"
        assert (await http.call("GET", "/")).body == b"1"


async def test_a_call_that_is_not_answered_is_made_twice_at_most() -> None:
    """However many connections are idle: one that breaks its engine would break it on each of them."""
    together, worked = asyncio.Barrier(8), 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal worked
        while b"fatal" not in await read_request(reader):
            await together.wait()  # so that each call has a connection of its own
            writer.write(answer(b"1"))
        worked += 1

    async with engine(serve) as http:
        await asyncio.gather(*(http.call("POST", "/", "fine") for _ in range(8)))
        with pytest.raises(EngineAwayError):
            await http.call("POST", "/", "fatal")
    assert worked == 2


@pytest.mark.parametrize(
    "said", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 x\r\nContent-Length: 9\r\n\r\n1234", b"\x00" * 64]
)
async def test_what_breaks_off_or_is_no_http_is_away(said: bytes) -> None:
    """Nothing of it reaches a caller as an answer."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(said)
        writer.close()

    async with engine(serve) as http:
        with pytest.raises(EngineAwayError):
            await http.call("GET", "/")


async def test_nobody_there_is_away() -> None:
    """A port that nobody listens on, and a socket that is not there."""
    with pytest.raises(EngineAwayError):
        await EngineHttp(EngineAddress(port=1)).call("GET", "/")
    with pytest.raises(EngineAwayError):
        await EngineHttp(EngineAddress(socket="/nonexistent.sock")).call("GET", "/")


async def test_an_answer_that_does_not_come_is_slow() -> None:
    """The time is the caller's."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del writer
        await reader.read()

    async with engine(serve) as http:
        with pytest.raises(EngineSlowError):
            await http.call("GET", "/", timeout_s=0.05)


async def test_streams_leave_comments_out() -> None:
    """Lines that begin with a colon keep the connection alive, and are no data."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 x\r\nConnection: close\r\n\r\n: ping\n\ndata: {}\n\nda")
        await writer.drain()
        writer.write(b"ta: [DONE]\n\n")
        writer.close()

    async with engine(serve) as http:
        assert [line async for line in http.lines("/", {})] == [b"{}", b"[DONE]"]


async def test_a_stream_that_is_refused_says_so() -> None:
    """Its status and its body are told."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer(b'{"error": {"message": "no"}}', status=400))

    async with engine(serve) as http:
        with pytest.raises(BadStatusError) as caught:
            _ = [line async for line in http.lines("/", {})]
    assert caught.value.answer.status == 400


async def test_an_answer_may_have_a_bound_of_its_own() -> None:
    """What is longer is not read to its end."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            writer.write(answer(b"x" * 1000))

    async with engine(serve) as http:
        assert len((await http.call("GET", "/", most_bytes=1000)).body) == 1000
        with pytest.raises(EngineAwayError, match="more than 999 bytes"):
            await http.call("GET", "/", most_bytes=999)


class Pieces:
    """Stands for a connection whose answer comes in these pieces, over and over."""

    def __init__(self, *pieces: bytes, times: int = 1) -> None:
        self._left = iter(pieces * times)

    async def next_event(self) -> h11.Data | h11.EndOfMessage:
        """Return the next piece."""
        piece = next(self._left, None)
        return h11.EndOfMessage() if piece is None else h11.Data(data=piece)


async def split(pieces: Any) -> list[bytes]:
    """Return all data of a stream."""
    return [line async for line in _split(pieces)]


async def test_a_line_in_many_pieces_is_looked_at_once() -> None:
    """A line of megabytes that comes 500 bytes at a time costs as much as they are long, not as often as they come."""
    began_s = time.thread_time()
    assert await split(Pieces(b"x" * 500, times=14_000)) == []
    assert time.thread_time() - began_s < 1.0


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ((b"da", b"ta: 1", b"\n", b"data: 2\ndata: 3\nda", b"ta: 4\n"), [b"1", b"2", b"3", b"4"]),
        ((b"data: 1\n\n", b": ping\ndata:2", b""), [b"1"]),
        ((b"data:", b"1\r\n"), [b"1"]),
    ],
)
async def test_pieces_of_lines_are_put_together(pieces: tuple[bytes, ...], lines: list[bytes]) -> None:
    """Wherever they are cut; a line without an end is none."""
    assert await split(Pieces(*pieces)) == lines


async def test_a_line_has_a_bound() -> None:
    """What goes on for ever is given up."""
    with pytest.raises(h11.RemoteProtocolError, match="a line of more than"):
        await split(Pieces(b"x" * 65_536, times=129))


async def test_without_a_free_descriptor_it_is_too_much_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """That says nothing of the engine: the caller is told to come again, and no version is blamed."""

    async def spent(_address: EngineAddress) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(EngineAddress, "connect", spent)
    with pytest.raises(OverloadedError, match="call again later"):
        await post(EngineHttp(EngineAddress(port=1)), "/x", {})


def test_a_leader_has_as_many_descriptors_as_it_may() -> None:
    """Up to the hard limit, and no more than are of use; its engine has what it was given."""
    code = """
import asyncio, resource
limit = resource.RLIMIT_NOFILE
hard = resource.getrlimit(limit)[1]
resource.setrlimit(limit, (256, hard))
from echoplaned.supervisor import process
process.raise_descriptor_limit()
assert resource.getrlimit(limit)[0] == min(hard, 65_536)
async def start():
    ended = asyncio.get_running_loop().create_future()
    engine = process.EngineProcess(["sleep", "0.5"], {"PATH": "/usr/bin:/bin"}, lambda _: False, ended.set_result)
    print(resource.prlimit(engine._child.pid, limit)[0])
    await ended
asyncio.run(start())
"""
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "256\n"
