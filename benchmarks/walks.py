"""How long the two paths through the daemon are that one reads first: files that are passed, and forms that a value takes.

`benchmarks/tracing.py` says what counts as either.

A real daemon runs in this process over a real store, with a real engine and real checkpoints. ``LoadModel`` to READY is followed by the
model's name and by a ``context_length`` that nothing else is equal to; a load report to its verdict by a count of requests.
``python -m benchmarks.walks`` prints the figures and the paths as text for ``docs/walkthrough.md``.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final, cast

import grpc.aio
import structlog
from envoy.config.core.v3 import base_pb2
from envoy.config.endpoint.v3 import load_report_pb2
from envoy.service.load_stats.v3 import lrs_pb2
from google.protobuf.duration_pb2 import Duration

from benchmarks.reporting import Row, machine, write
from benchmarks.tracing import PACKAGE, Walk, watching
from benchmarks.world import scratch
from echoplane import AsyncClient
from echoplane.channels import DIRECT_OPTIONS
from echoplane.inference import grpc_service_pb2 as oip
from echoplane.inference import grpc_service_pb2_grpc as oip_grpc
from echoplane.v1 import models_pb2, rollouts_pb2
from echoplaned import composition, serving
from echoplaned.settings import load_settings
from echoplaned.store import SqlStore, prepare_state_dir
from echoplaned.testing.checkpoints import make_encoder, perturb
from echoplaned.testing.daemon import DaemonProcess, free_port
from echoplaned.xds import lrs
from echoplaned.xds.options import server_options

MODEL: Final = "walked"
CONTEXT: Final = 509
"""A context length that is no default and no size of the checkpoint."""

SENT: Final = 1013
REQUESTS: Final = 997
"""Requests that are reported of each version, a few less than were sent: what the workers did not see arrive is not believed."""

JUDGED_S: Final = 3.0
"""Until what was reported is in a verdict, some intervals; it tells the workers' counts, so that the reported ones do not show."""

AT_ONCE: Final = 100
LOAD_S: Final = 300.0
LIMITS: Final = {"LoadModel to READY": (30, 9), "load report to verdict": (10, 5)}

Walks = dict[str, Walk]


def measure() -> list[Row]:
    """Walk both paths; count files and forms, and functions called ``judge``."""
    return rows(walk())


def walk() -> Walks:
    """Run a daemon and follow both paths through it."""
    with scratch() as folder:
        make_encoder(folder / "models/v1")
        perturb(folder / "models/v1", folder / "models/v2", scale=1e-3)
        try:
            return asyncio.run(_walk(folder))
        finally:
            DaemonProcess(folder / "state", ()).clean()


async def _walk(folder: Path) -> Walks:
    with watching():
        return await _walk_watched(folder)


async def _walk_watched(folder: Path) -> Walks:
    async with _running(folder) as address, AsyncClient(address) as client:
        walks = {"LoadModel to READY": await _load(client)}
        walks["load report to verdict"] = await _report(client, address)
        return walks


@contextlib.asynccontextmanager
async def _running(folder: Path) -> AsyncIterator[str]:
    """Run a daemon in this process, as ``echoplaned serve`` does; yield its address."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    flags = {"listen": f"127.0.0.1:{free_port()}", "state_dir": folder / "state", "model_roots": (folder / "models",)}
    settings = load_settings({**flags, "standby_workers": 0, "shutdown_grace_s": 0})
    prepare_state_dir(settings.state_dir)
    with contextlib.closing(SqlStore.open(settings.state_dir)) as store:
        task = asyncio.create_task(serving.run(composition.assemble(settings, store)))
        try:
            yield str(settings.listen)
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _load(client: AsyncClient) -> Walk:
    """Load a version and wait until it is READY."""
    seen = Walk(MODEL, CONTEXT)
    request = models_pb2.LoadModelRequest(
        model_id=MODEL, version_id="v1", source_uri="file:v1", context_length=CONTEXT, max_concurrency=2
    )
    with seen.followed():
        await client.wait(await client.load_model(request), LOAD_S)
    return seen


async def _report(client: AsyncClient, address: str) -> Walk:
    """Begin an update, report requests of both versions in its first stage, and wait for the verdict on them."""
    policy = rollouts_pb2.RolloutPolicy(
        name="walk", stages_percent=[50, 100], stage_min_s=600.0, stage_max_s=900.0, probe_count=1
    )
    update = models_pb2.UpdateModelRequest(
        model_id=MODEL, version_id="v2", source_uri="file:v2", context_length=CONTEXT, max_concurrency=2, policy=policy
    )
    await client.update_model(update)
    await _until_verdict(client, 0)
    for version in ("v1", "v2"):
        found = await client.get_version(f"{MODEL}/{version}")
        await _call(found.instances[0].address)
    async with grpc.aio.insecure_channel(address, server_options()) as channel:
        stream = cast(Any, channel).stream_stream(
            f"/{lrs.SERVICE}/StreamLoadStats",
            request_serializer=lrs_pb2.LoadStatsRequest.SerializeToString,
            response_deserializer=lrs_pb2.LoadStatsResponse.FromString,
        )()
        await stream.write(lrs_pb2.LoadStatsRequest(node=base_pb2.Node(id="walker")))
        seen = Walk("no name marks a count", REQUESTS)
        with seen.followed():
            await stream.write(_stats())
            await asyncio.sleep(JUDGED_S)
            await _until_verdict(client, REQUESTS)
        stream.cancel()
    return seen


async def _call(address: str) -> None:
    """Send an instance real requests."""
    request = oip.ModelInferRequest(model_name=MODEL)
    request.inputs.add(name="text", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"a walk")
    async with grpc.aio.insecure_channel(address, DIRECT_OPTIONS) as channel:
        stub = cast(Any, oip_grpc.GRPCInferenceServiceStub(channel))
        for first in range(0, SENT, AT_ONCE):
            count = min(AT_ONCE, SENT - first)
            await asyncio.gather(*(stub.ModelInfer(request, timeout=LOAD_S) for _ in range(count)))


def _stats() -> lrs_pb2.LoadStatsRequest:
    """Return a report of as many requests of each version, none failed."""
    stats = [
        load_report_pb2.ClusterStats(
            cluster_name=f"models/{MODEL}/versions/{version}",
            load_report_interval=Duration(seconds=1),
            upstream_locality_stats=[
                load_report_pb2.UpstreamLocalityStats(
                    total_successful_requests=REQUESTS, total_issued_requests=REQUESTS
                )
            ],
        )
        for version in ("v1", "v2")
    ]
    return lrs_pb2.LoadStatsRequest(cluster_stats=stats)


async def _until_verdict(client: AsyncClient, requests: int) -> None:
    """Wait until a verdict of the rollout rests on so many requests of the new version."""
    async with asyncio.timeout(LOAD_S):
        while True:
            async for rollout in client.list_rollouts(MODEL):
                shown = await client.get_rollout(rollout.name)
                if any(verdict.counts.new_request_count >= requests for verdict in shown.verdicts):
                    return
            await asyncio.sleep(0.2)


def judges() -> int:
    """Count the functions called ``judge`` that are no gate's method."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")]
    functions = [
        node for tree in trees for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    return sum(function.name == "judge" for function in functions)


def rows(walks: Walks) -> list[Row]:
    """Return the figures."""
    found = []
    for name, seen in walks.items():
        files, forms = LIMITS[name]
        found.append(Row(f"{name}: files", len(seen.files), "files", limit=files, aim=f"<= {files}"))
        found.append(Row(f"{name}: forms", len(seen.forms), "types", limit=forms, aim=f"<= {forms}"))
        found.append(Row(f"{name}: copies", len(seen.copies), "types"))
    return [*found, Row("functions called judge", judges(), "functions", limit=1, aim="<= 1")]


def text(walks: Walks) -> str:
    """Return the figures and the paths for the documentation."""
    lines = []
    for name, seen in walks.items():
        lines += [f"## {name}: {len(seen.files)} files, {len(seen.forms)} forms", ""]
        lines += [f"{number}. `daemon/echoplaned/{path}`" for number, path in enumerate(seen.files, 1)]
        for title, names in (("Forms", seen.forms), ("Copied into a field of", seen.copies)):
            lines += ["", f"{title}: " + ", ".join(f"`{name}`" for name in names) + "."]
        lines.append("")
    return "\n".join(lines)


def main() -> int:
    """Walk, print, and write ``results/walks.json``."""
    load_average = os.getloadavg()[0]
    walks = walk()
    write("walks", rows(walks), machine(load_average))
    print(text(walks))
    return 0


if __name__ == "__main__":
    sys.exit(main())
