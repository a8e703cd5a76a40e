"""A small server of OpenAI's API over HTTP/1.1, on a port or on a socket, that answers with its name."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

CHUNKS = 3


@dataclass
class OpenAiBackend:
    """A running server.

    Attributes:
        name: what it answers with.
        address: as routes have it: ``HOST:PORT`` or ``unix:/PATH``.
        calls: requests that it read whole.
        headers: of the last one, names in lower case.
        body: of the last one.
        own_headers: lines that it puts into each answer.
        failing: whether it answers 500.
        closes: whether it closes a connection after one answer, and does not say so.
        gate: a stream waits for it before each chunk but the first.
    """

    name: str
    address: str = ""
    calls: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    own_headers: bytes = b""
    failing: bool = False
    closes: bool = False
    gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until it ends."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                self.headers, body = await _read_request(reader)
                self.calls += 1
                self.body = body
                if json.loads(body or b"{}").get("stream"):
                    await self._stream(writer)
                else:
                    status = b"500 Internal Server Error" if self.failing else b"200 OK"
                    answer = json.dumps({"model": self.name}).encode()
                    head = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%b\r\n"
                    writer.write(head % (status, len(answer), self.own_headers) + answer)
                    await writer.drain()
                    if self.closes:
                        break
        writer.close()

    async def _stream(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for index in range(CHUNKS):
            if index:
                await self.gate.acquire()
            event = f"data: {json.dumps({'model': self.name, 'index': index})}\n\n".encode()
            writer.write(b"%x\r\n%s\r\n" % (len(event), event))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()


async def _read_request(reader: asyncio.StreamReader) -> tuple[dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    headers = {name: value.strip() for name, _, value in (line.partition(":") for line in head.splitlines()[1:])}
    length = int(headers.get("content-length", "0"))
    return headers, await reader.readexactly(length)


@contextlib.asynccontextmanager
async def openai_backend(name: str, socket: Path | None = None) -> AsyncIterator[OpenAiBackend]:
    """Serve on a free port, or on a socket."""
    backend = OpenAiBackend(name)
    if socket is None:
        server = await asyncio.start_server(backend.serve, "127.0.0.1", 0)
        backend.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    else:
        server = await asyncio.start_unix_server(backend.serve, socket)
        backend.address = f"unix:{socket}"
    try:
        yield backend
    finally:
        server.close()
