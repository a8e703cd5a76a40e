"""Asks a gateway again and again on one connection until the wanted version answers, and says when that was.

python -m benchmarks.peers.door_probe ADDRESS. A line on stdin is JSON: ``model``, ``version``. It says ``asking`` once it has been answered
by whoever it was, and then the seconds since boot at the first answer of that version, and how many requests were sent.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Final

from benchmarks.peers.door_backend import content_length
from benchmarks.peers.door_load import request
from benchmarks.peers.door_watch import now_s

_END: Final = b"\r\n\r\n"
_VERSION: Final = b"\r\nx-model-version:"


def version_of(head: bytes) -> str:
    """Return the version that answered, by an answer's headers; empty: none did."""
    at = head.lower().find(_VERSION)
    return "" if at < 0 else head[at + len(_VERSION) :].split(b"\r\n", 1)[0].strip().decode("latin-1")


class Prober:
    """One connection. A 404 has no version: the gateway does not know the model yet."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str) -> None:
        self._reader = reader
        self._writer = writer
        self._address = address

    async def ask(self, model: str) -> str:
        """Ask once; return the version that answered."""
        self._writer.write(request(self._address, model))
        head = await self._reader.readuntil(_END)
        await self._reader.readexactly(content_length(head))
        return version_of(head)

    async def until(self, model: str, version: str) -> tuple[float, int]:
        """Ask until that version answers; return when it did, and the number of requests."""
        count = 1
        await self.ask(model)
        print("asking", flush=True)
        while True:
            count += 1
            if await self.ask(model) == version:
                return now_s(), count


async def main(address: str) -> None:
    """Ask whenever told to."""
    host, _, port = address.rpartition(":")
    prober = Prober(*await asyncio.open_connection(host, int(port)), address)
    while line := await asyncio.to_thread(sys.stdin.readline):
        order = json.loads(line)
        at_s, count = await prober.until(order["model"], order["version"])
        print(f"{at_s:.6f} {count}", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
