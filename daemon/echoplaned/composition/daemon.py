"""All parts of a daemon, wired."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial

import grpc.aio

from echoplaned.composition.clocks import steady_clock
from echoplaned.composition.counts import open_counts
from echoplaned.composition.host import make_host
from echoplaned.composition.judges import gate_sources, make_gates
from echoplaned.composition.routes import Xds, make_route_services, xds_counts
from echoplaned.composition.services import Parts, door_parts, gateway_status, make_server_options, rpc_deps
from echoplaned.engines.engine_processes import EngineProcesses
from echoplaned.engines.probing import OipProber
from echoplaned.engines.scoring import OipScorer
from echoplaned.engines.token_ledger import TokenLedger
from echoplaned.front_door import FrontDoor, find_api_socket, open_keys
from echoplaned.gates.history import CountHistory
from echoplaned.gates.runner import GateRunner
from echoplaned.planning import find_devices
from echoplaned.planning.instance_planner import InstancePlanner
from echoplaned.planning.sampler import MemorySampler
from echoplaned.rpc.lifecycle import Lifecycle
from echoplaned.rpc.rest import add_gateway_services
from echoplaned.rpc.server import build_server
from echoplaned.rpc.services import build_services
from echoplaned.runtime.announces import AnnounceLog
from echoplaned.runtime.clock import SteadyClock, boot_moments, shift_between
from echoplaned.runtime.dispatch import Dispatcher
from echoplaned.runtime.ids import new_id
from echoplaned.runtime.loop import Loop
from echoplaned.security.private_listener import PrivateListener
from echoplaned.settings import Settings
from echoplaned.store import SqlKeys, SqlStore
from echoplaned.telemetry.loop_observer import LoopObserver
from echoplaned.telemetry.measured import MeasuredStore
from echoplaned.telemetry.metrics import Metrics, MetricSources


@dataclass(frozen=True, slots=True)
class Daemon:
    """What was wired together and has a life of its own.

    Attributes:
        settings: what the daemon runs with.
        loop: owner of the state.
        engines: engine processes of this machine.
        xds: what tells clients where to send requests.
        planner: placement of instances on devices.
        sampler: measurement of the devices' memory.
        gates: judges of rollouts.
        history: request counts of the last few seconds, for the gates.
        prober: single golden probes, for gates and health checks.
        scorer: golden texts scored by engines, for the gates.
        server: gRPC server with every service.
        lifecycle: whether the daemon is stopping.
        metrics: what ``/metrics`` shows.
        tokens: adds up what the engines count of tokens.
        clock: seconds since the epoch.
        clock_shift_s: seconds by which the clock was put forward since the last daemon; 0: it was not, or nothing was kept.
        door: the HTTP gateway; None: no setting asks for it.
        socket: the same services on a unix socket for this user alone; None: its path would be too long.
    """

    settings: Settings
    loop: Loop
    engines: EngineProcesses
    xds: Xds
    planner: InstancePlanner
    sampler: MemorySampler
    gates: GateRunner
    history: CountHistory
    prober: OipProber
    scorer: OipScorer
    server: grpc.aio.Server
    lifecycle: Lifecycle
    metrics: Metrics
    tokens: TokenLedger
    clock: SteadyClock
    clock_shift_s: float
    door: FrontDoor | None
    socket: PrivateListener | None


def assemble(settings: Settings, store: SqlStore, clock: SteadyClock | None = None) -> Daemon:
    """Wire a daemon over an open store; nothing runs yet.

    Must be called on the event loop that will run it.

    Raises:
        SettingsInvalidError: a setting is wrong, or what it names is missing.
    """
    clock = clock or steady_clock(settings)
    counts = open_counts(settings, clock)
    metrics = Metrics(
        MetricSources(
            lambda: loop.state,
            lambda: xds_counts(routes.xds.publisher),
            lambda: loop.event_count,
            counts.traces.counts,
            lambda: loop.faults.counts,
            lambda: gateway_status(door),
            counts.usage.report,
            counts.tokens.report,
            lambda: loop.store_writable,
        )
    )
    state = replace(store.load(), devices=find_devices(host_memory_bytes=settings.host_memory_bytes))
    announces = AnnounceLog(store.announces_after)
    loop = Loop(state, MeasuredStore(store, metrics, time.monotonic), announces, clock, new_id)
    routes = make_route_services(settings, loop, counts, clock)
    keys = open_keys(settings, SqlKeys(store), routes.xds.publisher, clock)
    host = make_host(settings, loop, counts, clock)
    history = CountHistory(counts.workers, clock)
    gates = make_gates(settings, loop, metrics, gate_sources(counts, routes, host, history))
    loop.connect(Dispatcher(host.planner, host.engines, routes.xds.traffic, gates, LoopObserver(host.engines)))
    parts = Parts(settings, clock, loop, metrics, counts, routes, host, gates, keys, find_api_socket(settings))
    lifecycle = Lifecycle()
    deps = rpc_deps(parts, lifecycle, lambda: door)
    services = build_services(deps)
    make_server = partial(build_server, deps, options=make_server_options(settings, routes.xds), services=services)
    door = FrontDoor.assemble(settings, door_parts(parts, partial(add_gateway_services, services=services)))
    return Daemon(
        settings,
        loop,
        host.engines,
        routes.xds,
        host.planner,
        host.sampler,
        gates,
        history,
        host.prober,
        host.scorer,
        make_server(),
        lifecycle,
        metrics,
        counts.tokens,
        clock,
        shift_between(store.last_moment(), boot_moments(clock)()),
        door,
        PrivateListener(make_server(), parts.socket) if parts.socket is not None else None,
    )
