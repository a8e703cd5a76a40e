"""Calls GetModel from a few callers for some seconds, for each line on stdin; prints calls a second and latencies in ms as JSON.

python -m benchmarks.peers.callers MODEL; a line is ``HOST:PORT CALLERS CALLS_PER_SECOND SECONDS``. A rate of 0: each caller calls
again as soon as it has its answer. Otherwise calls start at that rate, whatever has been answered.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import grpc.aio

from echoplane.channels import DIRECT_OPTIONS
from echoplane.v1 import models_pb2, models_pb2_grpc


async def closed(stub: models_pb2_grpc.ModelServiceStub, model: str, callers: int, seconds: float) -> list[float]:
    """Let each caller call again and again; return latencies in milliseconds."""
    taken_ms: list[float] = []
    request = models_pb2.GetModelRequest(name=f"models/{model}")
    ends_at = time.perf_counter() + seconds

    async def call() -> None:
        while (began := time.perf_counter()) < ends_at:
            await stub.GetModel(request)
            taken_ms.append((time.perf_counter() - began) * 1000)

    await asyncio.gather(*(call() for _ in range(callers)))
    return taken_ms


async def paced(stub: models_pb2_grpc.ModelServiceStub, model: str, rate: float, seconds: float) -> list[float]:
    """Start calls at a steady rate; return latencies in milliseconds, each from when its call was due."""
    taken_ms: list[float] = []
    request = models_pb2.GetModelRequest(name=f"models/{model}")
    began = time.perf_counter()

    async def call(due: float) -> None:
        await stub.GetModel(request)
        taken_ms.append((time.perf_counter() - due) * 1000)

    calls = []
    for number in range(int(rate * seconds)):
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        calls.append(asyncio.create_task(call(due)))
    await asyncio.gather(*calls)
    return taken_ms


async def main(model: str) -> None:
    """Do what the lines say."""
    for line in iter(sys.stdin.readline, ""):
        address, callers, rate, seconds = line.split()
        async with grpc.aio.insecure_channel(address, DIRECT_OPTIONS) as channel:
            stub = models_pb2_grpc.ModelServiceStub(channel)
            await closed(stub, model, 1, 0.2)
            if float(rate):
                taken_ms = await paced(stub, model, float(rate), float(seconds))
            else:
                taken_ms = await closed(stub, model, int(callers), float(seconds))
        ordered = sorted(taken_ms)
        answer = {
            "calls_per_s": len(ordered) / float(seconds),
            "median_ms": ordered[len(ordered) // 2],
            "p99_ms": ordered[int(len(ordered) * 0.99)],
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
