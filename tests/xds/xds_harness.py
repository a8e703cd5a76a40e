"""What the tests of the traffic part share: an observer that remembers, routes in one line, servers, clients."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import grpc.aio

from echoplaned.core.routes_view import ClusterView, ModelRoutes, RouteEndpoint
from echoplaned.ports.traffic import Caller, Reporter
from echoplaned.xds.ads import AdsOptions, AdsService
from echoplaned.xds.lrs import LoadReportService
from echoplaned.xds.observer import LoadReport, Nack, Refusal
from echoplaned.xds.options import server_options
from echoplaned.xds.publisher import Publisher

ECHO_METHOD = "/test.Echo/Call"


def routes(model: str, epoch: int, **clusters: tuple[int, Iterable[str]]) -> ModelRoutes:
    """Make routes: ``v1=(weight_ppm, addresses)``; a weight of 0 means not routed."""
    return ModelRoutes(
        model,
        epoch,
        tuple(
            ClusterView(version, weight, tuple(RouteEndpoint(each) for each in addresses), routed=weight > 0)
            for version, (weight, addresses) in clusters.items()
        ),
    )


@dataclass
class FakeClock:
    """Time that moves when told to."""

    now_s: float = 100.0

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.now_s


@dataclass
class Recorder:
    """An observer that writes every call down, one line each."""

    lines: list[str] = field(default_factory=list)
    loads: dict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0, 0]))
    refusals: list[Refusal] = field(default_factory=list)
    nacks: list[Nack] = field(default_factory=list)
    load_reports: int = 0
    reporters: set[Caller] = field(default_factory=set)
    load_streams_ended: list[tuple[str, int]] = field(default_factory=list)
    acknowledged: dict[str, int] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def _note(self, line: str) -> None:
        self.lines.append(line)
        self.changed.set()

    def routes_acknowledged(
        self, model: str, epoch: int, acknowledged: int, subscribers: int, stale: tuple[str, ...]
    ) -> None:
        """Note it."""
        self.acknowledged[model] = epoch
        tail = f" stale={','.join(stale)}" if stale else ""
        self._note(f"acknowledged {model} e{epoch} {acknowledged}/{subscribers}{tail}")

    def routes_progress(
        self, model: str, epoch: int, acknowledged: int, subscribers: int, stale: tuple[str, ...]
    ) -> None:
        """Note it."""
        tail = f" stale={','.join(stale)}" if stale else ""
        self._note(f"progress {model} e{epoch} {acknowledged}/{subscribers}{tail}")

    def routes_refused(self, refusal: Refusal) -> None:
        """Note it."""
        self.refusals.append(refusal)
        self._note(
            f"refused {refusal.model} e{refusal.epoch} by {refusal.node}: {refusal.detail} {sorted(refusal.names)}"
        )

    def routes_held(self, model: str, epoch: int, refusals: tuple[Refusal, ...]) -> None:
        """Note it."""
        self._note(f"held {model} e{epoch} by {','.join(each.node for each in refusals) or 'nobody'}")

    def subscriber_left_out(self, refusal: Refusal) -> None:
        """Note it."""
        self._note(f"left out {refusal.model} e{refusal.epoch}: {refusal.node}: {refusal.detail}")

    def nack_recorded(self, nack: Nack) -> None:
        """Note it."""
        self.nacks.append(nack)
        about = f"{sorted(nack.names)} of {','.join(sorted(nack.models))}"
        self._note(f"nack {nack.node} {nack.type_url.rpartition('.')[2]}: {nack.detail} {about}")

    def subscribers_changed(self, model: str, count: int) -> None:
        """Note it."""
        self._note(f"subscribers {model} {count}")

    def load_report(self, report: LoadReport) -> None:
        """Add it up."""
        assert report.reporter.node
        assert report.counts.in_flight >= 0
        assert report.interval_s > 0
        total = self.loads[report.version.model, report.version.version]
        total[0] += report.counts.ok
        total[1] += report.counts.errors
        total[2] += report.counts.arrivals
        self.load_reports += 1
        self.reporters.add(report.reporter.caller)
        self.changed.set()

    def load_stream_ended(self, reporter: Reporter) -> None:
        """Note it."""
        self.load_streams_ended.append((reporter.node, reporter.stream))
        self.changed.set()

    async def until(self, condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
        """Wait until the condition holds; checked after every call."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def until_acknowledged(self, model: str, epoch: int, timeout_s: float = 20.0) -> None:
        """Wait until the model's routes of this epoch, or a later one, are acknowledged."""
        await self.until(lambda: self.acknowledged.get(model, -1) >= epoch, timeout_s)


@dataclass
class ControlPlane:
    """A real server with ADS and LRS."""

    publisher: Publisher
    observer: Recorder
    address: str


@contextlib.asynccontextmanager
async def control_plane(address: str = "127.0.0.1:0", observer: Recorder | None = None) -> AsyncIterator[ControlPlane]:
    """Serve ADS and LRS; the publisher is not opened yet."""
    observer = observer or Recorder()
    clock = asyncio.get_running_loop().time
    publisher = Publisher(observer, clock)
    ads = AdsService(publisher, AdsOptions(expire_interval_s=0.05))
    lrs = LoadReportService(observer, clock)
    server = grpc.aio.server(options=server_options())
    server.add_generic_rpc_handlers((ads.handler(), lrs.handler()))
    port = server.add_insecure_port(address)
    await server.start()
    ticker = asyncio.ensure_future(ads.run())
    try:
        yield ControlPlane(publisher, observer, f"127.0.0.1:{port}")
    finally:
        ads.close()
        lrs.close()
        ticker.cancel()
        await server.stop(1.0)


@contextlib.asynccontextmanager
async def backend(name: str, *, error_every: int = 0) -> AsyncIterator[str]:
    """Serve an echo that answers with its name; every ``error_every``-th call fails with INTERNAL. Yield the address."""
    calls = 0

    async def call(_request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        nonlocal calls
        calls += 1
        if error_every and calls % error_every == 0:
            await context.abort(grpc.StatusCode.INTERNAL, "made to fail")
        return name.encode()

    service, _, method = ECHO_METHOD[1:].partition("/")
    server = grpc.aio.server()
    handler = grpc.method_handlers_generic_handler(service, {method: grpc.unary_unary_rpc_method_handler(call)})
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0.5)


def bootstrap(address: str, node: str) -> str:
    """Return a gRPC client's bootstrap."""
    server = {"server_uri": address, "channel_creds": [{"type": "insecure"}], "server_features": ["xds_v3"]}
    return json.dumps({"xds_servers": [server], "node": {"id": node}})


class Client:
    """A gRPC client in a process of its own, dialling an ``xds:///`` target; driven by lines on its standard input."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def count(self, calls: int) -> dict[str, int]:
        """Make so many calls; return how often each backend answered, failures under their status code."""
        return await self._ask(f"calls {calls}")

    async def start(self) -> None:
        """Begin to call without a pause."""
        assert await self._ask("start") == {}

    async def stop(self) -> dict[str, int]:
        """Stop calling; return how often each backend answered since the last answer."""
        return await self._ask("stop")

    async def _ask(self, line: str) -> dict[str, int]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line.encode() + b"\n")
        await self._process.stdin.drain()
        answer: dict[str, int] = json.loads(await self._process.stdout.readline())
        return answer


@contextlib.asynccontextmanager
async def client(address: str, target: str, node: str = "client") -> AsyncIterator[Client]:
    """Start a client process."""
    # The channel to the control plane is gRPC's own: only the environment keeps a proxy away from it.
    own = {"GRPC_XDS_BOOTSTRAP_CONFIG": bootstrap(address, node), "no_grpc_proxy": "127.0.0.1"}
    environment = {**os.environ, **own}
    environment.pop("GRPC_VERBOSITY", None)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("client_process.py")),
        target,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=environment,
    )
    try:
        yield Client(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(5):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
