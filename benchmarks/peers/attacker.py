"""The attacker: one connection, one kind of attack at a fixed rate, or what is benign in its place.

python -m benchmarks.peers.attacker WORKER DAEMON MODEL LOAD; LOAD is the file of the request that loaded the model. A line is
``FORM SECONDS KIND``, FORM attack or benign; the answer is JSON: units and bytes that were sent, and how many ended with which code.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, cast

import grpc
import grpc.aio

from benchmarks.peers.attack_kinds import Call, Kind, Stream, Unit, kinds
from benchmarks.peers.honest import OPTIONS

DEADLINE_S = 20.0


class Attacker:
    """Sends units on one connection and counts how they end."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        # Bytes as they are: what serializers and generated code would do is not wanted.
        self._channel = cast(Any, channel)
        self.sent = 0
        self.sent_bytes = 0
        self.codes: Counter[str] = Counter()

    async def run(self, kind: Kind, *, benign: bool, seconds: float) -> None:
        """Send at the kind's rate, whatever was answered."""
        burst = 1 if benign else kind.burst
        make = kind.benign if benign else kind.attack
        began = time.perf_counter()
        tasks = []
        for number in range(int(kind.rate * seconds)):
            # The first burst is due at once, each unit of it; an even flow begins as soon.
            due = began + (number - number % burst) / kind.rate
            if due > time.perf_counter():
                await asyncio.sleep(due - time.perf_counter())
            tasks.append(asyncio.create_task(self._one(make(number))))
        await asyncio.gather(*tasks)

    async def _one(self, unit: Unit) -> None:
        self.sent += 1
        try:
            await (self._call(unit) if isinstance(unit, Call) else self._stream(unit))
        except grpc.aio.AioRpcError as error:
            self.codes[error.code().name] += 1
        else:
            self.codes["OK"] += 1

    async def _call(self, unit: Call) -> None:
        self.sent_bytes += len(unit.request)
        await self._channel.unary_unary(unit.method)(unit.request, timeout=DEADLINE_S)

    async def _stream(self, unit: Stream) -> None:
        if unit.replies_once:
            self.sent_bytes += len(unit.requests[0])
            call = self._channel.unary_stream(unit.method)(unit.requests[0], timeout=DEADLINE_S)
        else:
            call = self._channel.stream_stream(unit.method)(timeout=DEADLINE_S)
            await self._write(call, unit.requests)
        answer = await call.read()
        if unit.reply is not None and answer is not grpc.aio.EOF:
            await self._write(call, tuple(unit.reply(answer)))
        await asyncio.sleep(unit.hold_s)
        if call.done():
            await call.read()  # says how it ended
        call.cancel()

    async def _write(self, call: grpc.aio.StreamStreamCall[bytes, bytes], requests: tuple[bytes, ...]) -> None:
        for request in requests:
            self.sent_bytes += len(request)
            await call.write(request)


async def main(worker: str, daemon: str, model: str, load: bytes) -> None:
    """Do what the lines say."""
    known = kinds(model, load)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        form, seconds, name = line.strip().split(" ", 2)
        kind = known[name]
        async with grpc.aio.insecure_channel(daemon if kind.door == "daemon" else worker, OPTIONS) as channel:
            await channel.channel_ready()
            attacker = Attacker(channel)
            print("begun", flush=True)
            await attacker.run(kind, benign=form == "benign", seconds=float(seconds))
        print(json.dumps({"sent": attacker.sent, "bytes": attacker.sent_bytes, "codes": attacker.codes}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4], Path(sys.argv[4]).read_bytes()))
