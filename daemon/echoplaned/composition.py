"""The composition: the only file that wires the daemon's parts together."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version as distribution_version
from pathlib import Path

import grpc.aio

from echoplaned.core.queries import find_facts
from echoplaned.core.state import State
from echoplaned.engine_kinds import EngineKind, configure_kinds
from echoplaned.engines.engine_processes import EngineProcesses, EngineProcessOptions
from echoplaned.engines.launcher import default_bytecode_cache, leader_environment
from echoplaned.engines.leaders import Clocks, EngineSinks
from echoplaned.engines.probing import OipProber, reaches
from echoplaned.engines.scoring import OipScorer
from echoplaned.engines.sinks import Tracing
from echoplaned.engines.token_ledger import TokenLedger
from echoplaned.engines.trace_store import TraceStore
from echoplaned.engines.worker_totals import WorkerTotals
from echoplaned.front_door import FrontDoor, FrontDoorParts, find_api_socket, open_keys
from echoplaned.gates.counting import CountingOptions
from echoplaned.gates.evaluator import GateDependencies
from echoplaned.gates.history import CountHistory
from echoplaned.gates.runner import GateRunner
from echoplaned.gates.standard import GateSources, StandardGates
from echoplaned.planning import find_devices
from echoplaned.planning.adapter import Allocator
from echoplaned.planning.instance_planner import InstancePlanner
from echoplaned.planning.measuring import Meter
from echoplaned.planning.sampler import MemorySampler
from echoplaned.ports.gateway import GatewayStatus
from echoplaned.ports.request_counts import CountedBy
from echoplaned.ports.traffic import TrafficSource
from echoplaned.rpc.deps import RpcDeps, RpcLimits, XdsTotals
from echoplaned.rpc.lifecycle import Lifecycle
from echoplaned.rpc.rest import add_gateway_services, transcoded_services
from echoplaned.rpc.server import ServerOptions, build_server
from echoplaned.rpc.services import build_services
from echoplaned.runtime.announces import AnnounceLog
from echoplaned.runtime.clock import SteadyClock, boot_moments, read_offset, shift_between
from echoplaned.runtime.dispatch import Dispatcher
from echoplaned.runtime.ids import new_id
from echoplaned.runtime.loop import Loop
from echoplaned.security.private_listener import PrivateListener
from echoplaned.settings import Settings, SettingsInvalidError, setting_violation
from echoplaned.store import SqlKeys, SqlStore
from echoplaned.store.evidence_files import EvidenceFiles
from echoplaned.store.token_file import TokenFile
from echoplaned.store.unloaded_files import UnloadedFiles
from echoplaned.store.usage_file import UsageFile
from echoplaned.telemetry.loop_observer import LoopObserver
from echoplaned.telemetry.measured import MeasuredStore, counting_emit
from echoplaned.telemetry.metrics import Metrics, MetricSources, XdsCounts, XdsTypeCounts
from echoplaned.xds import ads, lrs
from echoplaned.xds.ads import AdsService
from echoplaned.xds.budgets import XdsBudgets
from echoplaned.xds.confirmed import ConfirmedRequests
from echoplaned.xds.conversations import ConversationLedger
from echoplaned.xds.lrs import LoadReportService
from echoplaned.xds.options import DoorFrame, server_options
from echoplaned.xds.publisher import Publisher
from echoplaned.xds.traffic import Traffic
from echoplaned.xds.usage_ledger import UsageLedger


@dataclass(frozen=True, slots=True)
class Xds:
    """The xDS side of the daemon.

    Attributes:
        publisher: what is served, as one snapshot.
        ads: service that streams the snapshots to clients.
        lrs: service that takes the clients' load reports.
        traffic: link between the loop's routes and the publisher, with the requests that clients reported.
    """

    publisher: Publisher
    ads: AdsService
    lrs: LoadReportService
    traffic: Traffic


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
    trace_store = TraceStore()
    usage_file = UsageFile(settings.state_dir)
    usage = UsageLedger(usage_file.load(clock()))
    conversations = ConversationLedger(clock)
    token_file = TokenFile(settings.state_dir)
    tokens = TokenLedger(token_file.load(), token_file.save)
    metrics = Metrics(
        MetricSources(
            lambda: loop.state,
            lambda: _xds_counts(publisher),
            lambda: loop.event_count,
            trace_store.counts,
            lambda: loop.faults.counts,
            lambda: _gateway_status(door),
            usage.report,
            tokens.report,
        )
    )
    state = replace(store.load(), devices=find_devices(host_memory_bytes=settings.host_memory_bytes))
    announces = AnnounceLog(store.announces_after)
    loop = Loop(state, MeasuredStore(store, metrics, time.monotonic), announces, clock, new_id)
    traffic = Traffic(loop.emit, clock, loop.faults.report, loop.has_version)
    worker_totals = WorkerTotals(tokens)
    confirmed = ConfirmedRequests(traffic.loads, worker_totals.clients, worker_totals, clock)
    transcoded = transcoded_services() if settings.gateway_listen is not None else None
    rest_paths = transcoded.paths if transcoded is not None else ()
    frame = DoorFrame(rest_paths, settings.gateway_cors_origins)
    publisher = Publisher(traffic, time.monotonic, busy=confirmed.busy, frame=frame)
    traffic.connect(publisher, confirmed)
    keys = open_keys(settings, SqlKeys(store), publisher, clock)
    socket = find_api_socket(settings)
    history = CountHistory(worker_totals, clock)
    engine_options = _engine_options(settings)
    engines = _engines(settings, engine_options, loop, worker_totals, trace_store)
    prober = OipProber(time.monotonic, engines.control_key_at, worker_totals.probe_answered)
    scorer = OipScorer(engines.control_key_at, worker_totals.probe_answered)
    counts: dict[CountedBy, TrafficSource] = {CountedBy.LRS: traffic.loads, CountedBy.WORKER: worker_totals}
    gate_sources = GateSources(
        prober,
        {source.value: totals for source, totals in counts.items()},
        clients=traffic,
        scorer=scorer,
        traces=trace_store,
        engines=worker_totals,
        counting=CountingOptions(history=history, conversations=conversations),
        reaches=reaches,
    )
    gates = _gates(settings, loop, metrics, gate_sources)
    kinds = {kind.name: kind for kind in engine_options.kinds if kind.is_configured}
    engine_versions = {
        name: kind.version(leader_environment(engine_options.launch(kind))) for name, kind in kinds.items()
    }
    meter = Meter(state.devices, engines.leader_pids)
    allocator = Allocator(settings.model_roots, engine_versions, meter)
    planner = InstancePlanner(loop.emit, clock, allocator.plan, loop.faults.report, settings.memory_wait_s)
    sampler = MemorySampler(meter, loop.emit, clock, lambda: loop.state, partial(loop.faults.note, "memory", ()))
    loop.connect(Dispatcher(planner, engines, traffic, gates, LoopObserver(engines)))
    budgets = XdsBudgets(settings.max_xds_streams, settings.max_xds_names)
    reports = LoadReportService(traffic, time.monotonic, budgets)
    xds = Xds(publisher, AdsService(publisher, None, budgets), reports, traffic)
    lifecycle = Lifecycle()
    deps = RpcDeps(
        handle=loop,
        planning=allocator,
        prober=prober,
        engines={kind.name: kind for kind in engine_options.kinds},
        lifecycle=lifecycle,
        monotonic=time.monotonic,
        daemon_version=distribution_version("echoplaned"),
        start_time_s=clock(),
        traffic=counts,
        limits=_limits(settings),
        xds=lambda: _xds_totals(publisher),
        latencies=worker_totals.latencies,
        refusals=traffic.refusals.of_model,
        pid_of=engines.pid_of,
        emit=loop.emit,
        last_probe=engines.last_probe,
        store_writable=lambda: loop.store_writable,
        alarms=lambda: (
            *loop.alarms,
            *engines.alarms,
            *gates.alarms,
            *traffic.alarms,
            *_gateway_alarms(door),
            *keys.alarms,
        ),
        observer=metrics,
        gateway=lambda: _gateway_status(door),
        engine_versions=engine_versions,
        usage=usage.report,
        tokens=tokens.report,
        unloaded=UnloadedFiles(settings.state_dir),
        keys=keys,
        find_caller=keys.caller,
        socket=str(socket or ""),
    )
    services = build_services(deps)
    make_server = partial(build_server, deps, options=_server_options(settings, xds), services=services)
    add_rest = partial(add_gateway_services, services=services)
    clocks = (time.monotonic, wall_clock(settings))
    parts = FrontDoorParts(publisher, traffic, *clocks, usage, usage_file.save, conversations, transcoded, add_rest)
    door = FrontDoor.assemble(settings, parts)
    shift_s = shift_between(store.last_moment(), boot_moments(clock)())
    return Daemon(
        settings,
        loop,
        engines,
        xds,
        planner,
        sampler,
        gates,
        history,
        prober,
        scorer,
        make_server(),
        lifecycle,
        metrics,
        tokens,
        clock,
        shift_s,
        door,
        PrivateListener(make_server(), socket) if socket is not None else None,
    )


def steady_clock(settings: Settings) -> SteadyClock:
    """Return the daemon's clock, which starts at the wall clock's time.

    Tests move the wall clock by a setting, never the machine's.
    """
    return SteadyClock(wall_clock(settings), time.monotonic)


def wall_clock(settings: Settings) -> Callable[[], float]:
    """Return the machine's clock, which may be set meanwhile."""
    return lambda: time.time() + read_offset(settings.test_wall_offset_file)


def _gates(settings: Settings, loop: Loop, metrics: Metrics, sources: GateSources) -> GateRunner:
    dependencies = GateDependencies(
        counting_emit(loop.emit, metrics),
        loop.now_s,
        latest_state=lambda: loop.state,
        failed=loop.faults.report,
        store=_evidence_files(settings, loop.state),
    )
    return GateRunner(dependencies, StandardGates(sources))


def _evidence_files(settings: Settings, state: State) -> EvidenceFiles:
    """Return the gates' evidence store, cleared of rollouts that are over."""
    files = EvidenceFiles(settings.state_dir)
    files.keep_only({m.rollout.rollout_id for m in state.models.values() if m.rollout is not None})
    return files


def _engine_options(settings: Settings) -> EngineProcessOptions:
    return EngineProcessOptions(
        settings.state_dir,
        kinds=find_kinds(settings),
        standby_count=settings.standby_workers,
        bytecode_cache=default_bytecode_cache(Path.home()),
    )


def find_kinds(settings: Settings) -> tuple[EngineKind, ...]:
    """Return the engine kinds; those that a setting names are checked to be there.

    So a missing engine is reported before a port is bound.

    Raises:
        SettingsInvalidError: a setting is wrong, or there is no engine where it says.
    """
    try:
        return configure_kinds(settings.engines)
    except ValueError as error:
        raise SettingsInvalidError(setting_violation("engines", str(error))) from error


def _engines(
    settings: Settings, options: EngineProcessOptions, loop: Loop, totals: WorkerTotals, traces: TraceStore
) -> EngineProcesses:
    tracing = Tracing(traces, settings.trace_sampling_ratio, loop.now_s)
    sinks = EngineSinks(loop.emit, totals, loop.faults.report, tracing, lambda key: find_facts(loop.state, key))
    return EngineProcesses(options, sinks, Clocks(loop.now_s, time.monotonic), lambda: f"w-{new_id()}")


def _gateway_status(door: FrontDoor | None) -> GatewayStatus:
    return GatewayStatus() if door is None else door.status


def _gateway_alarms(door: FrontDoor | None) -> tuple[str, ...]:
    return () if door is None else door.alarms


def _server_options(settings: Settings, xds: Xds) -> ServerOptions:
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


def _xds_counts(publisher: Publisher) -> XdsCounts:
    stats = publisher.stats
    types = tuple(XdsTypeCounts(each.type.name, each.pushes, each.acks, each.nacks) for each in stats.by_type)
    return XdsCounts(stats.streams_open, types)
