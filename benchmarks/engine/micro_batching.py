"""What micro-batching brings, and what a load costs, as ratios measured side by side in one run.

Usage: python -m benchmarks.engine.micro_batching CHECKPOINT [--task EMBEDDING] [--seconds 5]

Starts one worker. Prints JSON: texts a second one by one and with 32 callers at once, and their ratio; the load's time
against a bare ``from_pretrained`` of the same files in a warm process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from echoplane.inference import grpc_service_pb2 as oip
from echoplane.inference import grpc_service_pb2_grpc as oip_grpc
from echoplane.worker.v1 import worker_pb2, worker_pb2_grpc
from echoplaned.engines.channels import open_channel
from echoplaned.engines.launcher import LaunchOptions, default_bytecode_cache, launch, leader_environment
from echoplaned.engines.leader_process import LeaderProcess
from echoplaned.engines.processes import WatchedProcess

TEXT = "the quick brown fox jumps over the lazy dog and more"
CALLERS = 32

# Loads in a process that is as warm as a spare: the first load pays for lazy imports and is thrown away.
BARE = """
import json, sys, time, torch
from transformers import AutoModel
torch.set_num_threads(1)
times = []
for _ in range(6):
    began = time.monotonic()
    AutoModel.from_pretrained(sys.argv[1], local_files_only=True)
    times.append(time.monotonic() - began)
print(json.dumps(sorted(times[1:])[2]))
"""


@dataclass(frozen=True)
class Arguments:
    """What to measure."""

    checkpoint: Path
    task: str
    seconds: float


def request() -> oip.ModelInferRequest:
    """Return one request of one text."""
    message = oip.ModelInferRequest(model_name="m")
    tensor = message.inputs.add(name="text", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(TEXT.encode())
    return message


async def rate(stub: oip_grpc.GRPCInferenceServiceStub, callers: int, seconds: float) -> float:
    """Return answers a second with so many callers, each asking again as soon as it has its answer."""
    until_s = time.monotonic() + seconds
    message = request()

    async def call() -> int:
        count = 0
        while time.monotonic() < until_s:
            await stub.ModelInfer(message)
            count += 1
        return count

    began_s = time.monotonic()
    counts = await asyncio.gather(*(call() for _ in range(callers)))
    return sum(counts) / (time.monotonic() - began_s)


async def measure(arguments: Arguments, options: LaunchOptions) -> dict[str, float]:
    """Start a worker, load, and measure."""
    pid = launch("bench", options, urgent=True)
    try:
        worker = LeaderProcess(options.state_dir, "bench", WatchedProcess(pid))
        await worker.wait_for_standby()
        channel = open_channel(worker.client.address)
        control = worker_pb2_grpc.WorkerServiceStub(channel)
        began_s = time.monotonic()
        await control.Load(
            worker_pb2.LoadRequest(
                instance="m/v#0",
                generation=1,
                model_id="m",
                version_id="v",
                source_path=str(arguments.checkpoint),
                dtype="DTYPE_FP32",
                task=f"TASK_{arguments.task}",
                context_length=64,
                max_concurrency=8,
            ),
            metadata=worker.client.line.metadata,
        )
        load_s = time.monotonic() - began_s
        stub = oip_grpc.GRPCInferenceServiceStub(channel)
        await rate(stub, CALLERS, 1.0)
        one = await rate(stub, 1, arguments.seconds)
        many = await rate(stub, CALLERS, arguments.seconds)
        await channel.close(None)
    finally:
        os.kill(pid, signal.SIGKILL)
    await worker.process.wait()
    await worker.detach()
    return {"load_s": load_s, "one_by_one_per_s": one, "at_once_per_s": many, "batching_ratio": many / one}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--task", default="EMBEDDING")
    parser.add_argument("--seconds", type=float, default=5.0)
    arguments = Arguments(**vars(parser.parse_args()))
    state_dir = Path(tempfile.mkdtemp(prefix="echoplane-bench-")).resolve()
    options = LaunchOptions(state_dir, bytecode_cache=default_bytecode_cache(Path.home()))
    try:
        measured = asyncio.run(measure(arguments, options))
        bare = subprocess.run(
            [sys.executable, "-c", BARE, str(arguments.checkpoint)],
            env={**leader_environment(options), "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        shutil.rmtree(state_dir)
    bare_s = json.loads(bare.stdout)
    result = {**measured, "bare_load_s": bare_s, "load_ratio": measured["load_s"] / bare_s}
    print(json.dumps({name: round(value, 4) for name, value in result.items()}, indent=2))


if __name__ == "__main__":
    main()
