"""Many connections that mostly idle: each was answered once and stays open, as those of clients with keep-alive do.

python -m benchmarks.peers.door_crowd ADDRESS MODEL. A line on stdin is JSON. ``{"hold": N}`` opens connections until there are so many; the
answer has how many are held and how many failed. ``{"rate": R, "seconds": S}`` asks on some of them, open loop; the answer has latencies
in ms from when each was due, the failures, and how many connections were lost since the last answer.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import sys
import time
from typing import Final

from benchmarks.peers.door_load import request, whole

AT_ONCE: Final = 100
DEADLINE_S: Final = 30.0


class Held(asyncio.Protocol):
    """One open connection."""

    def __init__(self) -> None:
        self.lost = False
        self._received = bytearray()
        self._answered: asyncio.Future[bool] | None = None
        self._transport: asyncio.Transport | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a request of it is under way."""
        return self._answered is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way out."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take an answer."""
        self._received += data
        if self._answered is not None and not self._answered.done() and whole(self._received):
            self._answered.set_result(self._received.startswith(b"HTTP/1.1 200"))
            self._received.clear()

    def connection_lost(self, _error: Exception | None) -> None:
        """Note it; what waits has failed."""
        self.lost = True
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(False)

    def close(self) -> None:
        """Close it."""
        if self._transport is not None:
            self._transport.close()

    async def ask(self, sent: bytes) -> bool:
        """Ask once; return whether it was answered well."""
        if self.lost or self._transport is None:
            return False
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(sent)
        try:
            return await asyncio.wait_for(self._answered, DEADLINE_S)
        except TimeoutError:
            return False
        finally:
            self._answered = None


class Crowd:
    """All connections that are held."""

    def __init__(self, address: str, model: str) -> None:
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._sent = request(address, model)
        self._held: list[Held] = []
        self._rng = random.Random(7)

    async def hold(self, count: int) -> dict[str, object]:
        """Open connections until so many are held, each answered once."""
        turns = asyncio.Semaphore(AT_ONCE)
        failed = 0

        async def one() -> None:
            nonlocal failed
            async with turns:
                try:
                    _, held = await asyncio.get_running_loop().create_connection(Held, self._host, self._port)
                except OSError:
                    failed += 1
                    return
                failed += not await held.ask(self._sent)
                self._held.append(held)

        await asyncio.gather(*(one() for _ in range(count - len(self._held))))
        return {"held": sum(not each.lost for each in self._held), "failed": failed}

    async def call(self, rate: float, seconds: float) -> dict[str, object]:
        """Ask on some of them at a steady rate."""
        latencies_ms: list[float] = []
        failed = 0

        async def one(held: Held, due: float) -> None:
            nonlocal failed
            if await held.ask(self._sent):
                latencies_ms.append(1000 * (time.perf_counter() - due))
            else:
                failed += 1

        async with asyncio.TaskGroup() as calls:
            begun = due = time.perf_counter()
            while due < begun + seconds:
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                calls.create_task(one(self._free(), due))
                due += self._rng.expovariate(rate)
        return {"latencies_ms": latencies_ms, "failed": failed, "lost": sum(each.lost for each in self._held)}

    async def close(self) -> None:
        """Close all of them."""
        for held in self._held:
            held.close()
        await asyncio.sleep(0.01)  # for the loop to see each end

    def _free(self) -> Held:
        while (held := self._rng.choice(self._held)).is_busy:
            continue
        return held


async def main(address: str, model: str) -> None:
    """Do what each line says."""
    crowd = Crowd(address, model)
    while line := await asyncio.to_thread(sys.stdin.readline):
        order = json.loads(line)
        done = await (crowd.hold(order["hold"]) if "hold" in order else crowd.call(order["rate"], order["seconds"]))
        print(json.dumps(done), flush=True)


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(main(*sys.argv[1:3]))
