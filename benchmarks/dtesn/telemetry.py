"""What telemetry costs: tokens a second with every request traced and with none, in turns, with the interval of the difference.

The worker's CPU time a token is measured beside it: the callers share the machine with the worker, so tokens a second vary more.

python -m benchmarks.dtesn.telemetry [--pairs 300]
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

from benchmarks.reporting import Row
from echoplane.inference import grpc_service_pb2 as oip
from echoplane.inference import grpc_service_pb2_grpc as oip_grpc
from echoplane.worker.v1 import worker_pb2, worker_pb2_grpc
from echoplaned.engines.channels import EngineChannel
from echoplaned.engines.launcher import LaunchOptions, default_bytecode_cache, launch
from echoplaned.engines.leader_process import LeaderProcess
from echoplaned.engines.processes import WatchedProcess
from echoplaned.testing.checkpoints import DecoderShape, make_decoder

CALLERS = 8
TOKENS = 64
ROUNDS = 1
"""Of requests, all callers at once, in one measurement."""

SHAPE = DecoderShape(layers=4, width=256, heads=4, kv_heads=2, feed_forward=512)
TEXT = b"The river rises and falls. "
_LIMIT = 0.01
_BEHIND_S = 0.005


@dataclass(frozen=True)
class Share:
    """What telemetry takes of something: the mean over pairs, and a 95 % interval of it (normal, by pairs)."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, shares: list[float]) -> Share:
        """Return the mean of each pair's share."""
        mean, half = statistics.mean(shares), 1.96 * statistics.stdev(shares) / math.sqrt(len(shares))
        return cls(mean, mean - half, mean + half)

    def __str__(self) -> str:
        """Give the interval."""
        return f"95 % interval {self.low:.2%} to {self.high:.2%}"


@dataclass(frozen=True)
class Rate:
    """``tokens_per_s``: of all callers; ``cpu_us_per_token``: of the worker's process."""

    tokens_per_s: float
    cpu_us_per_token: float


@dataclass(frozen=True)
class Cost:
    """Rates with telemetry off and on, means over pairs, and what it takes of tokens/s and adds to CPU time a token."""

    pairs: int
    off: Rate
    on: Rate
    tokens: Share
    cpu: Share


def request() -> oip.ModelInferRequest:
    """Return one generation, greedy, of ``TOKENS`` tokens at most."""
    return generation([TEXT], TOKENS)


def blocker() -> oip.ModelInferRequest:
    """Return a request that takes every place for one long step, so that what comes meanwhile is one batch, the same each time."""
    return generation([TEXT * 8] * CALLERS, 1)


def generation(texts: list[bytes], tokens: int) -> oip.ModelInferRequest:
    """Return a generation from some texts."""
    message = oip.ModelInferRequest(model_name="m")
    message.inputs.add(name="text", datatype="BYTES", shape=[len(texts)]).contents.bytes_contents.extend(texts)
    message.parameters["max_tokens"].int64_param = tokens
    return message


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process in seconds, to the nanosecond: the clock that Linux names by its id (clock_getcpuclockid(3))."""
    return time.clock_gettime((~pid << 3) | 2)


async def rate(stub: oip_grpc.GRPCInferenceServiceStub, pid: int, rounds: int) -> Rate:
    """Return what ``CALLERS`` callers get that ask together, so many times: batches of the same shape each time."""
    took_s, used_s, tokens = 0.0, 0.0, 0
    for _ in range(rounds):
        blocked = asyncio.ensure_future(stub.ModelInfer(blocker()))
        await asyncio.sleep(_BEHIND_S)
        waiting = [asyncio.ensure_future(stub.ModelInfer(request())) for _ in range(CALLERS)]
        await blocked
        began_s, before_s = time.monotonic(), cpu_s(pid)
        for response in await asyncio.gather(*waiting):
            tokens += len(response.outputs[1].contents.int64_contents)
        took_s, used_s = took_s + time.monotonic() - began_s, used_s + cpu_s(pid) - before_s
    return Rate(tokens / took_s, used_s / tokens * 1e6)


async def watch(line: EngineChannel, fraction: float) -> None:
    """Read traces, as the daemon does, until cancelled; a fraction of 0 switches them off and returns."""
    control = worker_pb2_grpc.WorkerServiceStub(line.channel)
    async for _ in control.WatchTraces(worker_pb2.WatchTracesRequest(fraction=fraction), metadata=line.metadata):
        pass


async def compare(line: EngineChannel, pid: int, pairs: int) -> Cost:
    """Measure in pairs, each in the other order than the one before."""
    stub = oip_grpc.GRPCInferenceServiceStub(line.channel)
    await rate(stub, pid, ROUNDS)
    on: list[Rate] = []
    off: list[Rate] = []
    for number in range(pairs):
        for traced in (False, True) if number % 2 else (True, False):
            reader = asyncio.create_task(watch(line, float(traced)))
            await asyncio.sleep(0.1)
            (on if traced else off).append(await rate(stub, pid, ROUNDS))
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
    both = list(zip(on, off, strict=True))
    tokens = Share.of([1 - a.tokens_per_s / b.tokens_per_s for a, b in both])
    cpu = Share.of([a.cpu_us_per_token / b.cpu_us_per_token - 1 for a, b in both])
    return Cost(pairs, mean(off), mean(on), tokens, cpu)


def mean(rates: list[Rate]) -> Rate:
    """Return the means of rates."""
    return Rate(
        statistics.mean(one.tokens_per_s for one in rates), statistics.mean(one.cpu_us_per_token for one in rates)
    )


async def run(state_dir: Path, pairs: int) -> Cost:
    """Start a worker with a small decoder, and measure."""
    pid = launch("bench", LaunchOptions(state_dir, bytecode_cache=default_bytecode_cache(Path.home())), urgent=True)
    worker = LeaderProcess(state_dir, "bench", WatchedProcess(pid))
    try:
        await worker.wait_for_standby()
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
        line = worker.client.line
        await worker_pb2_grpc.WorkerServiceStub(line.channel).Load(order, metadata=line.metadata)
        return await compare(line, pid, pairs)
    finally:
        os.kill(pid, signal.SIGKILL)
        await worker.process.wait()
        await worker.detach()


def cost(pairs: int) -> Cost:
    """Measure in a directory of its own."""
    state_dir = Path(tempfile.mkdtemp(prefix="echoplane-bench-")).resolve()
    try:
        return asyncio.run(run(state_dir, pairs))
    finally:
        shutil.rmtree(state_dir)


def measure() -> list[Row]:
    """Return the share of tokens/s that telemetry takes, and what it adds to the worker's CPU time a token."""
    found = cost(100)
    told, added = (
        f"telemetry's share of tokens/s, {found.pairs} pairs, {found.tokens}",
        f"and of CPU a token, {found.cpu}",
    )
    return [Row(told, found.tokens.mean, "", limit=_LIMIT, aim="<= 1 %"), Row(added, found.cpu.mean, "")]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=300)
    arguments = parser.parse_args()
    print(json.dumps(asdict(cost(arguments.pairs)), indent=2))


if __name__ == "__main__":
    main()
