"""A real grpc.aio server over the real core, with engines and checkpoints that are scripted, and how its errors are read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, cast

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2_grpc
from grpc_status import rpc_status

from echoplane.channels import DIRECT_OPTIONS
from echoplane.googleapis import operations_pb2, operations_pb2_grpc, status_pb2
from echoplane.inference import grpc_service_pb2_grpc as oip_grpc
from echoplane.v1 import (
    diagnostics_pb2_grpc,
    models_pb2,
    models_pb2_grpc,
    planning_pb2_grpc,
    rollouts_pb2_grpc,
)
from echoplaned.core.failure import Reason
from echoplaned.core.ids import InstanceKey, VersionKey
from echoplaned.core.measure import Histogram
from echoplaned.engine_kinds import DEFAULT_KIND, KINDS, EngineKind
from echoplaned.ports.keys import GatewayCaller, Role
from echoplaned.ports.probing import LastProbe
from echoplaned.ports.request_counts import CountedBy
from echoplaned.ports.tokens import TokenReport
from echoplaned.ports.traffic import TrafficSource
from echoplaned.ports.usage import UsageReport
from echoplaned.rpc.deps import RpcDeps, RpcLimits
from echoplaned.rpc.lifecycle import Lifecycle
from echoplaned.rpc.server import ServerOptions, build_server
from echoplaned.rpc.services import Services
from echoplaned.testing.builders import facts
from echoplaned.testing.handle import FakeHandle
from echoplaned.testing.planning import FakePlanning, FakeProber
from echoplaned.xds.refusals import RefusalLog


@dataclass
class Ended:
    """Counts RPCs by how they ended."""

    seen: list[tuple[str, str]] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def rpc_ended(self, method: str, code: str, seconds: float) -> None:
        """Note one."""
        assert seconds >= 0
        self.seen.append((method.rpartition("/")[2], code))
        self.arrived.set()

    async def wait_for(self, method: str, code: str) -> None:
        """Wait until a call has ended so."""
        async with asyncio.timeout(5):
            while (method, code) not in self.seen:
                self.arrived.clear()
                await self.arrived.wait()


@dataclass
class Failed:
    """An error as a caller sees it."""

    code: grpc.StatusCode
    message: str
    status: status_pb2.Status

    def detail(self, kind: type[Message]) -> Any:
        """Return the one detail of a kind; None: there is none."""
        found = [d for d in self.status.details if d.Is(kind.DESCRIPTOR)]
        assert len(found) <= 1
        if not found:
            return None
        message = kind()
        found[0].Unpack(message)
        return message

    @property
    def reason(self) -> str:
        """Return the reason, having checked the domain."""
        info = self.detail(error_details_pb2.ErrorInfo)
        assert info.domain == "echoplane.dev"
        return str(info.reason)

    @property
    def fields(self) -> set[str]:
        """Return the fields that BadRequest names."""
        return {v.field for v in self.detail(error_details_pb2.BadRequest).field_violations}


async def failed(call: Coroutine[Any, Any, Any] | Any, reason: Reason, code: grpc.StatusCode) -> Failed:
    """Await a call that must fail with a reason and a code."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    error = raised.value
    assert error.code() is code, error.details()
    status = rpc_status.from_call(cast(Any, error))
    assert status is not None, error.details()
    found = Failed(error.code(), error.details() or "", status)
    assert found.reason == reason.value
    return found


class Stubs:
    """Every service of the server under test."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.models: Any = models_pb2_grpc.ModelServiceStub(channel)
        self.rollouts: Any = rollouts_pb2_grpc.RolloutServiceStub(channel)
        self.planning: Any = planning_pb2_grpc.PlanningServiceStub(channel)
        self.status: Any = diagnostics_pb2_grpc.StatusServiceStub(channel)
        self.operations: Any = operations_pb2_grpc.OperationsStub(channel)
        self.health: Any = health_pb2_grpc.HealthStub(channel)
        self.oip: Any = oip_grpc.GRPCInferenceServiceStub(channel)


class KeptUnloaded:
    """Keeps how models were loaded in memory."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def keep(self, model_id: str, content: bytes) -> None:
        """Keep it."""
        self._kept[model_id] = content

    def read(self) -> dict[str, bytes]:
        """Return it."""
        return dict(self._kept)


class World:
    """What a test has in its hands: the core behind the server, its scripts, and stubs."""

    def __init__(self) -> None:
        self.handle = FakeHandle()
        self.planning = FakePlanning(
            checkpoints={
                "fp32": facts("blake3:fp32"),
                "int8": facts("blake3:int8"),
                "wide": facts("blake3:wide", width=768),
                "huge": replace(facts("blake3:huge"), parameter_count=9 * 10**9),
                "half": replace(facts("blake3:half"), parameter_count=2_000_000_000),
                "other": replace(facts("blake3:other"), parameter_count=2_000_000_000),
            }
        )
        self.prober = FakeProber()
        self.last_probes: dict[tuple[InstanceKey, int], LastProbe] = {}
        self.ended = Ended()
        self.lifecycle = Lifecycle()
        self.limits = RpcLimits()
        self.engines: dict[str, EngineKind] = {kind.name: kind for kind in KINDS}
        self.store_writable = True
        self.traffic: dict[CountedBy, TrafficSource] = {}
        self.refusals = RefusalLog()
        self.latencies: dict[VersionKey, tuple[Histogram, ...]] = {}
        self.usage = UsageReport()
        self.tokens = TokenReport()
        self.unloaded = KeptUnloaded()
        self.callers: dict[str, GatewayCaller] = {"": GatewayCaller("local", Role.ADMIN)}
        self.stubs: Stubs

    @property
    def script(self) -> Any:
        """What the fake engines do."""
        return self.handle.script

    def find_caller(self, client: str) -> GatewayCaller | None:
        """Return who calls through the gateway; without a header it is somebody who may everything."""
        return self.callers.get(client)

    def deps(self) -> RpcDeps:
        """Return what the server is built from."""
        return RpcDeps(
            handle=self.handle,
            planning=self.planning,
            prober=self.prober,
            engines=self.engines,
            engine_versions={DEFAULT_KIND.name: "torch 2.15.0"},
            lifecycle=self.lifecycle,
            monotonic=time.monotonic,
            daemon_version="0.1.0",
            start_time_s=self.handle.now_s(),
            traffic=self.traffic,
            limits=self.limits,
            latencies=lambda version: self.latencies.get(version, ()),
            usage=lambda: self.usage,
            tokens=lambda: self.tokens,
            refusals=self.refusals.of_model,
            pid_of=lambda leader_id: int(leader_id.removeprefix("leader-")),
            store_writable=lambda: self.store_writable,
            emit=self.handle.emit,
            last_probe=lambda instance, generation: self.last_probes.get((instance, generation)),
            observer=self.ended,
            unloaded=self.unloaded,
            find_caller=self.find_caller,
            scoped_models=lambda: frozenset(model for each in self.callers.values() for model in each.models),
        )

    async def load(self, version: str = "fp32", model: str = "minilm", **more: Any) -> operations_pb2.Operation:
        """Load a version whose checkpoint is named after it."""
        more = {"source_uri": f"file:{version}", "version_id": version, **more}
        request = models_pb2.LoadModelRequest(model_id=model, **more)
        answer = await self.stubs.models.LoadModel(request)
        assert isinstance(answer, operations_pb2.Operation)
        return answer

    async def update(self, version: str = "int8", model: str = "minilm", **more: Any) -> operations_pb2.Operation:
        """Update to a version whose checkpoint is named after it."""
        more = {"source_uri": f"file:{version}", "version_id": version, **more}
        request = models_pb2.UpdateModelRequest(model_id=model, **more)
        answer = await self.stubs.models.UpdateModel(request)
        assert isinstance(answer, operations_pb2.Operation)
        return answer

    async def start(self, *, channelz: bool = False, services: Services | None = None) -> grpc.aio.Server:
        """Start the server and dial it; ``services``: those that others call too."""
        server = build_server(self.deps(), options=ServerOptions(channelz=channelz), services=services)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        self.stubs = Stubs(grpc.aio.insecure_channel(f"127.0.0.1:{port}", DIRECT_OPTIONS))
        return server


MakeWorld = Callable[[RpcLimits], Coroutine[Any, Any, World]]
