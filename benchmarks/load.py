"""LoadModel from the RPC to READY with a worker on standby, against a bare load and first forward in a warm process, by turns."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import grpc

from benchmarks.reporting import Row
from benchmarks.world import daemon, hear, minilm, peer, say, wait_for_standby
from echoplane import Client
from echoplane.channels import DIRECT_OPTIONS
from echoplane.googleapis import operations_pb2, operations_pb2_grpc
from echoplane.operations import read_completed
from echoplane.v1 import models_pb2, planning_pb2
from echoplaned.engines.probing import REPEATED
from echoplaned.testing.daemon import DaemonProcess
from echoplaned.worker_contract.golden import GOLDEN_TEXTS

ROUNDS = 5
MODEL = "minilm"


@dataclass(frozen=True, slots=True)
class Load:
    """One load, in seconds.

    ``rpc_s``: until the call answered. ``worker_s``: the worker's own loading. ``probes_s``: from there until the daemon had its
    probes answered and the version READY.
    """

    total_s: float
    rpc_s: float
    worker_s: float
    probes_s: float


def measure() -> list[Row]:
    """Load and bare-load by turns.

    Each round has a daemon of its own: one that serves nothing warms its spare at full priority, so that a busy machine cannot
    starve it, and nothing else warms up beside the load.
    """
    source = minilm()
    loads: list[Load] = []
    bare: list[float] = []
    plans: list[float] = []
    with peer("bare_load", str(source)) as loader:
        hear(loader)
        for number in range(ROUNDS):
            with daemon(standby=1, roots=(source.parent,)) as process, Client(process.address) as client:
                wait_for_standby(process, 1)
                plan_once(client, source)  # the first call of a process compiles its rules; thrown away
                plans.append(plan_once(client, source))
                say(loader, "load")
                bare.append(float(hear(loader)))
                loads.append(load_once(client, process, source, f"v{number}"))
    return rows(loads, bare, statistics.median(plans))


def load_once(client: Client, process: DaemonProcess, source: Path, version: str) -> Load:
    """Load one version from the RPC to READY."""
    request = models_pb2.LoadModelRequest(model_id=MODEL, version_id=version, source_uri=f"file:{source}")
    began = time.perf_counter()
    operation = client.load_model(request)
    rpc_s = time.perf_counter() - began
    # Waits in the daemon: asking every few milliseconds would be part of what is measured.
    with grpc.insecure_channel(process.address, DIRECT_OPTIONS) as channel:
        wait = operations_pb2.WaitOperationRequest(name=operation.name)
        operation = operations_pb2_grpc.OperationsStub(channel).WaitOperation(wait, timeout=60)
    total_s = time.perf_counter() - began
    read_completed(operation)
    return Load(total_s, rpc_s, *read_load_times(process, version))


def read_load_times(process: DaemonProcess, version: str) -> tuple[float, float]:
    """Read from the logs how long the worker loaded, and how much later the daemon called the instance ready."""
    ready = next(line for line in log_lines([process.log_path]) if is_ready(line, version))
    workers = log_lines((process.state_dir / "logs").glob("*.log"))
    loaded = max((line for line in workers if line.get("event") == "loaded"), key=lambda line: str(line["timestamp"]))
    return float(str(loaded["load_s"])), (time_of(ready) - time_of(loaded)).total_seconds()


def is_ready(line: dict[str, object], version: str) -> bool:
    """Whether a line of the daemon says that this version's instance is ready."""
    return line.get("event") == "instance.ready" and str(line.get("subject")).endswith(f"/{version}")


def log_lines(paths: Iterable[Path]) -> list[dict[str, object]]:
    """Return the JSON lines of some logs; libraries write others."""
    lines = (line for path in paths for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    return [json.loads(line) for line in lines if line.startswith("{")]


def time_of(line: dict[str, object]) -> datetime:
    """Return when a line was written."""
    return datetime.fromisoformat(str(line["timestamp"]))


def plan_once(client: Client, source: Path) -> float:
    """Plan without loading: reading the headers, the digest over all files, and the plan; return the seconds."""
    began = time.perf_counter()
    client.plan_model(planning_pb2.PlanModelRequest(source_uri=f"file:{source}"))
    return time.perf_counter() - began


def rows(loads: list[Load], bare: list[float], plan_s: float) -> list[Row]:
    """Fold the rounds; the parts are medians of their own and need not add up."""
    median, bare_s = statistics.median(load.total_s for load in loads), statistics.median(bare)
    rpc_s = statistics.median(load.rpc_s for load in loads)
    worker_s = statistics.median(load.worker_s for load in loads)
    probes_s = statistics.median(load.probes_s for load in loads)
    return [
        Row("RPC to READY", median, "s", "bare", bare_s, 1.5 * bare_s + 0.3, "<= 1.5 x bare + 0.3 s"),
        Row("- headers, digest and plan (PlanModel)", plan_s, "s"),
        Row("- the RPC: the same, and the commit", rpc_s, "s"),
        Row("- the worker's load", worker_s, "s", "bare", bare_s),
        Row(f"- {len(GOLDEN_TEXTS) + len(REPEATED)} probes and two commits", probes_s, "s"),
    ]
