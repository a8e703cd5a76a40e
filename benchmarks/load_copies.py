"""LoadModel to READY with weights that are copied, against a release that mapped them from the file, by turns.

python -m benchmarks.load_copies --baseline OTHER/.venv/bin/python [--rounds 3] [--in-process]

Both releases have a standby worker for each replica and the checkpoint's pages in the page cache. Seconds are a client's, from the call
to READY; processor seconds are those of the workers that load (a busy machine moves them least); memory is the workers' PSS once READY.
Copies need memory, which each round takes once more by itself: what the machine asks for that is told apart from what the load does.
``--in-process``: the worker's load and first answer alone.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import grpc
import psutil

from benchmarks.reporting import RESULTS, machine
from benchmarks.world import hear, minilm, say, scratch, wait_for_standby
from echoplane import Client
from echoplane.channels import DIRECT_OPTIONS
from echoplane.googleapis import operations_pb2, operations_pb2_grpc
from echoplane.operations import read_completed
from echoplane.v1 import models_pb2
from echoplaned.testing import checkpoints
from echoplaned.testing.daemon import DaemonProcess

LARGE: Final = checkpoints.EncoderShape(layers=19, width=1024, heads=16, feed_forward=4096)
"""About 1 GB in FP32."""

REPLICAS: Final = (1, 2)
BAR: Final = 1.3
_PEERS: Final = Path(__file__).parent / "peers"
STANDBY: Final = "--spare-workers"
"""The flag's earlier name, which releases of before and after take."""

_SETTLE_S: Final = 1.0
_GIVEN_BACK_S: Final = 8.0
"""A kernel that reports free memory to its host does so within two seconds; so long the copies' memory was free as well."""

_WAIT_S: Final = 900.0


@dataclass(frozen=True, slots=True)
class Load:
    """One load: seconds for the client, processor seconds of the workers and of the daemon, PSS of the workers in bytes."""

    total_s: float
    workers_cpu_s: float
    daemon_cpu_s: float
    pss_bytes: int


def load_once(python: str, source: Path, replicas: int) -> Load:
    """Start a daemon with as many standby workers as replicas, load once, and end it."""
    with scratch() as folder:
        process = DaemonProcess(folder / "state", (source.parent,), (STANDBY, str(replicas)), python=python)
        try:
            process.start(120.0)
            with Client(process.address) as client:
                wait_for_standby(process, replicas, _WAIT_S)
                return measure_load(client, process, source, replicas)
        finally:
            process.clean()


def measure_load(client: Client, process: DaemonProcess, source: Path, replicas: int) -> Load:
    """Load a version and look at what it took."""
    assert process.process is not None
    daemon = psutil.Process(process.process.pid)
    standby = {each.pid: cpu_s(each) for each in process.engines()}
    daemon_s, began_s = cpu_s(daemon), time.perf_counter()
    request = models_pb2.LoadModelRequest(
        model_id="m", version_id="v1", source_uri=f"file:{source}", replicas=replicas, pinned=True
    )
    operation = client.load_model(request)
    with grpc.insecure_channel(process.address, DIRECT_OPTIONS) as channel:
        wait = operations_pb2.WaitOperationRequest(name=operation.name)
        operation = operations_pb2_grpc.OperationsStub(channel).WaitOperation(wait, timeout=_WAIT_S)
    total_s = time.perf_counter() - began_s
    read_completed(operation)
    (version,) = client.list_versions("m")
    loaded = [psutil.Process(instance.pid) for instance in version.instances]
    assert len(loaded) == replicas
    workers_s = sum(cpu_s(each) - standby[each.pid] for each in loaded)
    daemon_s = cpu_s(daemon) - daemon_s
    time.sleep(_SETTLE_S)
    return Load(total_s, workers_s, daemon_s, sum(each.memory_full_info().pss for each in loaded))


def cpu_s(process: psutil.Process) -> float:
    """Return the processor seconds of a process."""
    times = process.cpu_times()
    return float(times.user + times.system)


def take_memory(size_bytes: int, processes: int) -> float:
    """Let processes take so much new memory each, all at once; return the seconds of the slowest."""
    time.sleep(_GIVEN_BACK_S)
    command = [sys.executable, str(_PEERS / "new_memory.py"), str(size_bytes)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    return max(float(each.communicate()[0]) for each in running)


def compare(baseline: str, name: str, source: Path, replicas: int, rounds: int) -> dict[str, object]:
    """Load by turns; return both sides' rounds, what new memory takes, and the ratios of the medians."""
    sides: dict[str, list[Load]] = {"mapped": [], "copied": []}
    weights_bytes = (source / "model.safetensors").stat().st_size
    memory: list[float] = []
    for _ in range(rounds):
        for side, python in (("mapped", baseline), ("copied", sys.executable)):
            sides[side].append(load_once(python, source, replicas))
            print(f"{name}, {replicas} replicas, {side}: {sides[side][-1]}", flush=True)
        memory.append(take_memory(weights_bytes, replicas))
        print(f"{name}, {replicas} replicas, new memory alone: {memory[-1]:.3f} s", flush=True)
    fields = ("total_s", "workers_cpu_s", "pss_bytes")
    medians = {
        side: {f: statistics.median(getattr(one, f) for one in loads) for f in fields} for side, loads in sides.items()
    }
    ratios = {f: medians["copied"][f] / medians["mapped"][f] for f in fields}
    memory_s = statistics.median(memory)
    ratios["total_s_less_memory"] = (medians["copied"]["total_s"] - memory_s) / medians["mapped"]["total_s"]
    print(f"{name}, {replicas} replicas: " + ", ".join(f"{f} {ratio:.2f} x" for f, ratio in ratios.items()), flush=True)
    rows = {side: [asdict(one) for one in loads] for side, loads in sides.items()}
    found = {"rounds": rows, "new_memory_s": memory, "medians": medians, "ratios": ratios}
    return {"checkpoint": name, "replicas": replicas, **found}


def compare_in_process(baseline: str, name: str, source: Path, rounds: int) -> dict[str, object]:
    """Load by turns in a process of each release, without a daemon."""
    sides: dict[str, list[dict[str, float]]] = {"mapped": [], "copied": []}
    with ExitStack() as stack:
        peers = {
            side: stack.enter_context(_warm_peer(python))
            for side, python in (("mapped", baseline), ("copied", sys.executable))
        }
        for number in range(rounds + 1):
            for side, process in peers.items():
                say(process, str(source))
                took = json.loads(hear(process))
                print(f"{name}, in-process, {side}: {took}", flush=True)
                if number:  # the first brings the file into memory
                    sides[side].append(took)
    medians = {side: {f: statistics.median(one[f] for one in loads) for f in loads[0]} for side, loads in sides.items()}
    ratios = {f: medians["copied"][f] / medians["mapped"][f] for f in ("total_s", "cpu_s")}
    print(f"{name}, in-process: " + ", ".join(f"{f} {ratio:.2f} x" for f, ratio in ratios.items()), flush=True)
    return {"checkpoint": name, "in_process": True, "rounds": sides, "medians": medians, "ratios": ratios}


@contextmanager
def _warm_peer(python: str) -> Iterator[subprocess.Popen[str]]:
    script = str(_PEERS / "worker_load.py")
    with scratch() as folder:
        process = subprocess.Popen(
            [python, script, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            hear(process)
            yield process
        finally:
            process.terminate()
            process.communicate()


def main() -> int:
    """Compare both checkpoints with one and two replicas, and write the result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load_copies", description=__doc__)
    parser.add_argument("--baseline", required=True, help="python of the environment of the other release")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", default="load-copies.json", help="name in benchmarks/results")
    parser.add_argument("--in-process", action="store_true", help="the worker's part alone, without daemons")
    options = parser.parse_args()
    before = os.getloadavg()[0]
    with scratch() as folder:
        large = checkpoints.make_encoder(folder / "large", shape=LARGE)
        checkpoints_by_name = (("MiniLM", minilm()), ("1 GB", large))
        if options.in_process:
            found = [compare_in_process(options.baseline, *each, options.rounds) for each in checkpoints_by_name]
        else:
            found = [
                compare(options.baseline, name, source, replicas, options.rounds)
                for name, source in checkpoints_by_name
                for replicas in REPLICAS
            ]
    result = {"bar": BAR, "machine": asdict(machine(before)), "loads": found}
    (RESULTS / options.output).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
