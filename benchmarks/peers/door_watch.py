"""Callers who watch: short requests on connections of their own, one after another, and streams that are always under way.

python -m benchmarks.peers.door_watch ADDRESS MODEL OUTPUT --callers N --streams N --tokens N. It prints ``watching`` once each has been
answered, ends at a line on stdin, and then prints ``done``. A line of the output is one request, as ``Watched`` writes it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, TextIO

from benchmarks.peers.door_backend import content_length
from benchmarks.peers.door_load import request

OK: Final = "ok"
SHORT: Final = "short"
STREAM: Final = "stream"
DEADLINE_S: Final = 20.0
PAUSE_S: Final = 0.01
FAILED_PAUSE_S: Final = 0.05
"""So that whoever starts again is not held up by refused connections."""

_END: Final = b"\r\n\r\n"
_LAST_CHUNK: Final = b"\r\n0\r\n\r\n"


def now_s() -> float:
    """Return seconds since boot: the clock that the kernel tells a process' start by."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Watched:
    """One request. Times in seconds since boot; ``outcome``: ``ok``, or what went wrong."""

    kind: str
    began_s: float
    ended_s: float
    outcome: str

    @property
    def ok(self) -> bool:
        """Whether it was answered whole."""
        return self.outcome == OK

    def line(self) -> str:
        """Write it."""
        return f"{self.kind}\t{self.began_s:.4f}\t{self.ended_s:.4f}\t{self.outcome}\n"

    @classmethod
    def read(cls, line: str) -> Self:
        """Read what ``line`` wrote."""
        kind, began_s, ended_s, outcome = line.rstrip("\n").split("\t")
        return cls(kind, float(began_s), float(ended_s), outcome)


async def short(address: str, model: str) -> str:
    """Ask once on a connection of its own; return what came of it."""
    reader, writer = await _connect(address)
    try:
        writer.write(request(address, model))
        head = await reader.readuntil(_END)
        await reader.readexactly(content_length(head))
    finally:
        writer.close()
    return OK if head.startswith(b"HTTP/1.1 200") else head[9:12].decode("latin-1")


async def stream(address: str, model: str, tokens: int) -> str:
    """Read one stream to its end; return what came of it."""
    reader, writer = await _connect(address)
    body = {"model": model, "stream": True, "max_tokens": tokens, "messages": [{"role": "user", "content": "Hello"}]}
    content = json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n"
    try:
        writer.write(f"{head}content-length: {len(content)}\r\nconnection: close\r\n\r\n".encode() + content)
        answer = await _read_stream(reader)
    finally:
        writer.close()
    if not answer.startswith(b"HTTP/1.1 200"):
        return answer[9:12].decode("latin-1") or "closed before an answer"
    pieces = answer.count(b"data: {")
    return (
        OK
        if b"data: [DONE]" in answer and answer.endswith(_LAST_CHUNK) and pieces == tokens
        else f"cut after {pieces} of {tokens} pieces"
    )


async def _read_stream(reader: asyncio.StreamReader) -> bytes:
    """Return all that comes until the last chunk, or until the connection's end."""
    try:
        return await reader.readuntil(_LAST_CHUNK)
    except asyncio.IncompleteReadError as error:
        return error.partial


async def _connect(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


@dataclass(frozen=True, slots=True)
class Notes:
    """Where the callers write. ``begun``: set at the first line; ``stop``: set when nothing more is to be asked."""

    output: TextIO
    begun: asyncio.Event
    stop: asyncio.Event

    def write(self, watched: Watched) -> None:
        """Write a request down at once."""
        self.output.write(watched.line())
        self.output.flush()
        self.begun.set()


async def watch(kind: str, ask: Callable[[], Awaitable[str]], notes: Notes) -> None:
    """Ask again and again, and write each down."""
    while not notes.stop.is_set():
        began_s = now_s()
        try:
            async with asyncio.timeout(DEADLINE_S):
                outcome = await ask()
        except (OSError, EOFError, TimeoutError) as error:
            outcome = type(error).__name__
        notes.write(Watched(kind, began_s, now_s(), outcome))
        await asyncio.sleep(PAUSE_S if outcome == OK else FAILED_PAUSE_S)


async def main(options: argparse.Namespace, output: TextIO) -> None:
    """Watch until a line comes."""
    notes = Notes(output, asyncio.Event(), asyncio.Event())
    asyncio.get_running_loop().add_reader(sys.stdin, notes.stop.set)
    address, model, tokens = options.address, options.model, options.tokens
    callers = [
        *(watch(SHORT, lambda: short(address, model), notes) for _ in range(options.callers)),
        *(watch(STREAM, lambda: stream(address, model, tokens), notes) for _ in range(options.streams)),
    ]
    running = asyncio.gather(*callers)
    await notes.begun.wait()
    print("watching", flush=True)
    await running
    print("done", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("model")
    parser.add_argument("output", type=Path)
    parser.add_argument("--callers", type=int, default=3)
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=30)
    arguments = parser.parse_args()
    with arguments.output.open("a", encoding="utf-8") as file:
        asyncio.run(main(arguments, file))
