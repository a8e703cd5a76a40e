"""Wiring of the services and of the gateway over all other parts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version as distribution_version
from itertools import chain
from pathlib import Path

import grpc.aio

from echoplaned.composition.clocks import wall_clock
from echoplaned.composition.counts import Counts
from echoplaned.composition.host import Host
from echoplaned.composition.judges import count_sources
from echoplaned.composition.routes import RouteServices, Xds
from echoplaned.front_door import FrontDoor, FrontDoorParts
from echoplaned.gates.runner import GateRunner
from echoplaned.ports.gateway import GatewayStatus
from echoplaned.rpc.deps import RpcDeps, RpcLimits, XdsTotals
from echoplaned.rpc.fair_handle import FairHandle
from echoplaned.rpc.lifecycle import Lifecycle
from echoplaned.rpc.server import ServerOptions
from echoplaned.runtime.clock import SteadyClock
from echoplaned.runtime.loop import Loop
from echoplaned.security.key_ring import KeyRing
from echoplaned.settings import Settings
from echoplaned.store.unloaded_files import UnloadedFiles
from echoplaned.telemetry.metrics import Metrics
from echoplaned.xds import ads, lrs
from echoplaned.xds.options import server_options
from echoplaned.xds.publisher import Publisher


@dataclass(frozen=True, slots=True)
class Parts:
    """What is there before the services are.

    Attributes:
        settings: what the daemon runs with.
        clock: seconds since the epoch.
        loop: owner of the state.
        metrics: what ``/metrics`` shows.
        counts: what is counted beside the state.
        routes: what tells clients where to send requests.
        host: what works on this machine.
        gates: judges of rollouts.
        keys: who may call the gateway.
        socket: path of the API's own unix socket; None: it would be too long.
    """

    settings: Settings
    clock: SteadyClock
    loop: Loop
    metrics: Metrics
    counts: Counts
    routes: RouteServices
    host: Host
    gates: GateRunner
    keys: KeyRing
    socket: Path | None


def rpc_deps(parts: Parts, lifecycle: Lifecycle, door: Callable[[], FrontDoor | None]) -> RpcDeps:
    """Return what the services use; ``door``: the gateway, once it is there."""
    loop, host, traffic = parts.loop, parts.host, parts.routes.xds.traffic
    alarms = (loop, host.engines, parts.gates, traffic)
    return RpcDeps(
        handle=FairHandle(loop),
        planning=host.allocator,
        prober=host.prober,
        engines={kind.name: kind for kind in host.kinds},
        lifecycle=lifecycle,
        monotonic=time.monotonic,
        daemon_version=distribution_version("echoplaned"),
        start_time_s=parts.clock(),
        traffic=count_sources(parts.counts, parts.routes),
        limits=_limits(parts.settings),
        xds=lambda: _xds_totals(parts.routes.xds.publisher),
        latencies=parts.counts.workers.latencies,
        refusals=traffic.refusals.of_model,
        pid_of=host.engines.pid_of,
        emit=loop.emit,
        last_probe=host.engines.last_probe,
        store_writable=lambda: loop.store_writable,
        alarms=lambda: (*chain(*(each.alarms for each in alarms)), *_gateway_alarms(door()), *parts.keys.alarms),
        observer=parts.metrics,
        gateway=lambda: gateway_status(door()),
        engine_versions=host.versions,
        usage=parts.counts.usage.report,
        tokens=parts.counts.tokens.report,
        unloaded=UnloadedFiles(parts.settings.state_dir),
        keys=parts.keys,
        find_caller=parts.keys.caller,
        scoped_models=parts.keys.scoped_models,
        socket=str(parts.socket or ""),
    )


def door_parts(parts: Parts, add_rest: Callable[[grpc.aio.Server], None]) -> FrontDoorParts:
    """Return what the gateway is made of.

    ``add_rest`` adds the REST services to its server.
    """
    xds, counts = parts.routes.xds, parts.counts
    return FrontDoorParts(
        publisher=xds.publisher,
        observer=xds.traffic,
        monotonic=time.monotonic,
        wall=wall_clock(parts.settings),
        usage=counts.usage,
        save_usage=counts.usage_file.save,
        conversations=counts.conversations,
        transcoded=parts.routes.transcoded,
        add_services=add_rest,
    )


def make_server_options(settings: Settings, xds: Xds) -> ServerOptions:
    """Return what the API's servers are given beside the services."""
    return ServerOptions(
        handlers=(xds.ads.handler(), xds.lrs.handler()),
        handler_services=(ads.SERVICE, lrs.SERVICE),
        max_message_bytes=settings.max_message_bytes,
        channel=server_options(),
        channelz=settings.channelz,
    )


def _limits(settings: Settings) -> RpcLimits:
    return RpcLimits(
        max_models=settings.max_models,
        max_versions_per_model=settings.max_versions_per_model,
        max_open_operations=settings.max_open_operations,
        max_watchers=settings.max_watchers,
        max_health_watchers=settings.max_health_watchers,
        inspections=settings.max_inspections,
        default_max_concurrency=settings.default_max_concurrency,
    )


def _xds_totals(publisher: Publisher) -> XdsTotals:
    stats = publisher.stats
    return XdsTotals(
        stats.streams_open,
        sum(each.pushes for each in stats.by_type),
        sum(each.acks for each in stats.by_type),
        sum(each.nacks for each in stats.by_type),
    )


def gateway_status(door: FrontDoor | None) -> GatewayStatus:
    """Return how the gateway is; None: there is none."""
    return GatewayStatus() if door is None else door.status


def _gateway_alarms(door: FrontDoor | None) -> tuple[str, ...]:
    return () if door is None else door.alarms
