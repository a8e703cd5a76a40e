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
        failing: whether it answers 500.
        closes: whether it closes a connection after one answer, and does not say so.
        gate: a stream waits for it before each chunk but the first.
    """

    name: str
    address: str = ""
    calls: int = 0
    failing: bool = False
    closes: bool = False
    gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until it ends."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                body = await _read_request(reader)
                self.calls += 1
                if json.loads(body or b"{}").get("stream"):
                    await self._stream(writer)
                else:
                    status = b"500 Internal Server Error" if self.failing else b"200 OK"
                    answer = json.dumps({"model": self.name}).encode()
                    head = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
                    writer.write(head % (status, len(answer)) + answer)
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


async def _read_request(reader: asyncio.StreamReader) -> bytes:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    lengths = [line.partition(":")[2] for line in head.splitlines() if line.startswith("content-length:")]
    return await reader.readexactly(int(lengths[0])) if lengths else b""


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
