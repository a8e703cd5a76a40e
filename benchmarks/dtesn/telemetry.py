"""What telemetry costs: tokens a second with every request traced and with none, in turns, with the interval of the difference.

python -m benchmarks.dtesn.telemetry [--pairs 20] [--seconds 2]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import shutil
import signal
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import grpc

from benchmarks.reporting import Row
from echoplane.inference import grpc_service_pb2 as oip
from echoplane.inference import grpc_service_pb2_grpc as oip_grpc
from echoplane.worker.v1 import worker_pb2, worker_pb2_grpc
from echoplaned.engines.channels import open_channel
from echoplaned.engines.launcher import LaunchOptions, launch
from echoplaned.engines.processes import WatchedProcess
from echoplaned.engines.torch import default_bytecode_cache
from echoplaned.engines.worker_process import WorkerProcess
from echoplaned.testing.checkpoints import DecoderShape, make_decoder

CALLERS = 8
TOKENS = 64
SHAPE = DecoderShape(layers=4, width=256, heads=4, kv_heads=2, feed_forward=512)
_LIMIT = 0.01


@dataclass(frozen=True)
class Cost:
    """Share of tokens/s that telemetry takes: the mean over pairs, and a 95 % interval of it (normal, by pairs)."""

    pairs: int
    tokens_per_s_off: float
    tokens_per_s_on: float
    share: float
    low: float
    high: float


def request() -> oip.ModelInferRequest:
    """Return one generation, greedy, of ``TOKENS`` tokens at most."""
    message = oip.ModelInferRequest(model_name="m")
    message.inputs.add(name="text", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"The river rises")
    message.parameters["max_tokens"].int64_param = TOKENS
    return message


async def rate(stub: oip_grpc.GRPCInferenceServiceStub, seconds: float) -> float:
    """Return tokens a second with ``CALLERS`` callers, each asking again as soon as it has its answer."""
    until_s = time.monotonic() + seconds

    async def call() -> int:
        tokens = 0
        while time.monotonic() < until_s:
            response = await stub.ModelInfer(request())
            tokens += len(response.outputs[1].contents.int64_contents)
        return tokens

    began_s = time.monotonic()
    counts = await asyncio.gather(*(call() for _ in range(CALLERS)))
    return sum(counts) / (time.monotonic() - began_s)


async def watch(control: worker_pb2_grpc.WorkerServiceStub, fraction: float) -> None:
    """Read traces, as the daemon does, until cancelled; a fraction of 0 switches them off and returns."""
    async for _ in control.WatchTraces(worker_pb2.WatchTracesRequest(fraction=fraction)):
        pass


async def compare(channel: grpc.aio.Channel, pairs: int, seconds: float) -> Cost:
    """Measure in pairs, each in the other order than the one before."""
    control, stub = worker_pb2_grpc.WorkerServiceStub(channel), oip_grpc.GRPCInferenceServiceStub(channel)
    await rate(stub, 2.0)
    on, off = [], []
    for number in range(pairs):
        for traced in (False, True) if number % 2 else (True, False):
            reader = asyncio.create_task(watch(control, float(traced)))
            await asyncio.sleep(0.1)
            (on if traced else off).append(await rate(stub, seconds))
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
    shares = [1 - a / b for a, b in zip(on, off, strict=True)]
    mean, half = statistics.mean(shares), 1.96 * statistics.stdev(shares) / math.sqrt(pairs)
    return Cost(pairs, statistics.mean(off), statistics.mean(on), mean, mean - half, mean + half)


async def run(state_dir: Path, pairs: int, seconds: float) -> Cost:
    """Start a worker with a small decoder, and measure."""
    pid = launch("bench", LaunchOptions(state_dir, bytecode_cache=default_bytecode_cache(Path.home())), urgent=True)
    worker = WorkerProcess(state_dir, "bench", WatchedProcess(pid))
    try:
        await worker.wait_until_warm()
        order = worker_pb2.LoadRequest(
            instance="m/v#0",
            generation=1,
            model_id="m",
            version_id="v",
            source_path=str(make_decoder(state_dir / "decoder", shape=SHAPE)),
            dtype="DTYPE_FP32",
            task="TASK_GENERATION",
            context_length=128,
            max_concurrency=CALLERS,
        )
        async with open_channel(worker.client.address) as channel:
            await worker_pb2_grpc.WorkerServiceStub(channel).Load(order)
            return await compare(channel, pairs, seconds)
    finally:
        os.kill(pid, signal.SIGKILL)
        await worker.process.wait()
        await worker.let_go()


def cost(pairs: int, seconds: float) -> Cost:
    """Measure in a directory of its own."""
    state_dir = Path(tempfile.mkdtemp(prefix="echoplane-bench-")).resolve()
    try:
        return asyncio.run(run(state_dir, pairs, seconds))
    finally:
        shutil.rmtree(state_dir)


def measure() -> list[Row]:
    """Return the share of tokens/s that telemetry takes."""
    found = cost(20, 2.0)
    name = f"telemetry's share of tokens/s, {found.pairs} pairs, 95 % interval {found.low:.2%} to {found.high:.2%}"
    return [Row(name, found.share, "", limit=_LIMIT, aim="<= 1 %")]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=2.0)
    arguments = parser.parse_args()
    print(json.dumps(asdict(cost(arguments.pairs, arguments.seconds)), indent=2))


if __name__ == "__main__":
    main()
