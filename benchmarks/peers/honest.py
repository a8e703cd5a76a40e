"""Honest clients: each on a connection of its own, open-loop at a steady rate in all; every answer is timed from when it was due.

python -m benchmarks.peers.honest WORKER DAEMON MODEL CONNECTIONS RATE; prints ``open`` when all are connected. A line is a number of
seconds; the answer is JSON: latencies in ms by method, and how many calls failed by method and code. Four of five connections are to the
worker and ask for inference, one of five is to the daemon and asks for the model.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from typing import Final

import grpc
import grpc.aio

from echoplane.channels import DIRECT_OPTIONS
from echoplane.inference import grpc_service_pb2 as oip
from echoplane.inference import grpc_service_pb2_grpc as oip_grpc
from echoplane.v1 import models_pb2, models_pb2_grpc
from echoplaned.testing.loadgen import make_text

OPTIONS: Final = (*DIRECT_OPTIONS, ("grpc.use_local_subchannel_pool", 1))
"""A connection of its own: channels with equal options share one otherwise."""

DEADLINE_S: Final = 10.0
_WORKERS_SHARE: Final = 5  # one of so many connections is to the daemon
_AT_ONCE: Final = 50
_CONNECT_S: Final = 120.0

Call = Callable[[], Awaitable[object]]


def inference(channel: grpc.aio.Channel, model: str, rng: random.Random) -> Call:
    """Return a call for the vector of a short text, another one each time."""
    stub = oip_grpc.GRPCInferenceServiceStub(channel)

    def call() -> Awaitable[object]:
        request = oip.ModelInferRequest(model_name=model)
        contents = request.inputs.add(name="text", datatype="BYTES", shape=[1]).contents
        contents.bytes_contents.append(make_text(rng, long=False).encode())
        answer: Awaitable[object] = stub.ModelInfer(request, timeout=DEADLINE_S)
        return answer

    return call


def lookup(channel: grpc.aio.Channel, model: str) -> Call:
    """Return a call for what the daemon says of the model."""
    stub = models_pb2_grpc.ModelServiceStub(channel)
    request = models_pb2.GetModelRequest(name=f"models/{model}")

    def call() -> Awaitable[object]:
        answer: Awaitable[object] = stub.GetModel(request, timeout=DEADLINE_S)
        return answer

    return call


class Crowd:
    """Clients, and what they saw."""

    def __init__(self, clients: list[tuple[str, Call]], rate: float) -> None:
        self._clients = clients
        self._rate = rate
        self._next = 0
        self._taken_ms: defaultdict[str, list[float]] = defaultdict(list)
        self._failed: Counter[str] = Counter()

    async def run(self, seconds: float) -> dict[str, object]:
        """Let one client after the other call, at the rate of all of them, whatever has been answered."""
        self._taken_ms.clear()
        self._failed.clear()
        began = time.perf_counter()
        calls = []
        for number in range(int(self._rate * seconds)):
            due = began + number / self._rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            calls.append(asyncio.create_task(self._one(due)))
        await asyncio.gather(*calls)
        return {"taken_ms": self._taken_ms, "failed": self._failed}

    async def _one(self, due: float) -> None:
        name, call = self._clients[self._next % len(self._clients)]
        self._next += 1
        try:
            await call()
        except grpc.aio.AioRpcError as error:
            self._failed[f"{name} {error.code().name}"] += 1
        # One that failed took its time as well; leaving it out would make the others look better.
        self._taken_ms[name].append((time.perf_counter() - due) * 1000)


async def main(worker: str, daemon: str, model: str, connections: int, rate: float) -> None:
    """Connect, then do what the lines say."""
    rng = random.Random(0)
    channels: list[grpc.aio.Channel] = []
    clients: list[tuple[str, Call]] = []
    for number in range(connections):
        to_daemon = number % _WORKERS_SHARE == 0
        channel = grpc.aio.insecure_channel(daemon if to_daemon else worker, OPTIONS)
        channels.append(channel)
        clients.append(
            ("GetModel", lookup(channel, model)) if to_daemon else ("ModelInfer", inference(channel, model, rng))
        )
    async with asyncio.timeout(_CONNECT_S):
        for start in range(0, connections, _AT_ONCE):
            await asyncio.gather(*(channel.channel_ready() for channel in channels[start : start + _AT_ONCE]))
    print("open", flush=True)
    crowd = Crowd(clients, rate)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await crowd.run(float(line))), flush=True)
    await asyncio.gather(*(channel.close() for channel in channels))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4], int(sys.argv[4]), float(sys.argv[5])))
