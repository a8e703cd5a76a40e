"""The composition root: the only file that wires. ``echoplaned serve``, ``echoplaned check``, ``echoplaned stop-engines``."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version as distribution_version
from pathlib import Path

import grpc.aio
import structlog

from echoplaned.command_line import parse
from echoplaned.core.errors import DaemonError
from echoplaned.core.events import Recovered
from echoplaned.core.queries import find_facts, owned_engines
from echoplaned.core.state import State
from echoplaned.engine_kinds import EngineKind, configure_kinds
from echoplaned.engines.engine_processes import EngineProcesses, EngineProcessOptions
from echoplaned.engines.instance import Tracing
from echoplaned.engines.launcher import default_bytecode_cache, leader_environment
from echoplaned.engines.leaders import Clocks, EngineSinks
from echoplaned.engines.probing import OipProber, reaches
from echoplaned.engines.scoring import OipScorer
from echoplaned.engines.trace_store import TraceStore
from echoplaned.engines.unowned import UnownedEnginesError, refuse_unowned
from echoplaned.engines.worker_totals import WorkerTotals
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
from echoplaned.ports.request_counts import CountedBy
from echoplaned.ports.traffic import TrafficSource
from echoplaned.rpc.deps import RpcDeps, RpcLimits, XdsTotals
from echoplaned.rpc.lifecycle import Lifecycle
from echoplaned.rpc.server import ServerOptions, build_server
from echoplaned.runtime.announces import AnnounceLog
from echoplaned.runtime.clock import SteadyClock, boot_moments, read_offset, shift_between
from echoplaned.runtime.core_faults import CoreFaultError
from echoplaned.runtime.dispatch import Dispatcher
from echoplaned.runtime.faults import AdapterFaults
from echoplaned.runtime.heap import GlibcHeap, HeapTrimmer
from echoplaned.runtime.ids import new_id
from echoplaned.runtime.loop import Loop
from echoplaned.settings import Settings, SettingsInvalidError, load_settings, old_names_given, setting_violation
from echoplaned.store import SqlStore, StateDirLock, prepare_state_dir
from echoplaned.store.evidence_files import EvidenceFiles
from echoplaned.telemetry.http import MetricsServer
from echoplaned.telemetry.logging import configure_logging
from echoplaned.telemetry.loop_observer import LoopObserver
from echoplaned.telemetry.measured import MeasuredStore, counting_emit
from echoplaned.telemetry.metrics import Metrics, MetricSources, XdsCounts, XdsTypeCounts
from echoplaned.xds import ads, lrs
from echoplaned.xds.ads import AdsService
from echoplaned.xds.budgets import XdsBudgets
from echoplaned.xds.confirmed import ConfirmedRequests
from echoplaned.xds.lrs import LoadReportService
from echoplaned.xds.options import server_options
from echoplaned.xds.publisher import Publisher
from echoplaned.xds.traffic import Traffic

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Xds:
    """The xDS side."""

    publisher: Publisher
    ads: AdsService
    lrs: LoadReportService
    traffic: Traffic


@dataclass(frozen=True, slots=True)
class Daemon:
    """What was wired together and has a life of its own."""

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
    clock: SteadyClock
    clock_shift_s: float


def assemble(settings: Settings, store: SqlStore, clock: SteadyClock | None = None) -> Daemon:
    """Wire a daemon over an open store; nothing runs yet. Must be called on the event loop that will run it."""
    clock = clock or steady_clock(settings)
    trace_store = TraceStore()
    metrics = Metrics(
        MetricSources(
            lambda: loop.state,
            lambda: _xds_counts(publisher),
            lambda: loop.event_count,
            trace_store.counts,
            lambda: loop.faults.counts,
        )
    )
    state = replace(store.load(), devices=find_devices(host_memory_bytes=settings.host_memory_bytes))
    announces = AnnounceLog(store.announces_after)
    loop = Loop(state, MeasuredStore(store, metrics, time.monotonic), announces, clock, new_id)
    traffic = Traffic(loop.emit, clock, loop.faults.report, loop.has_version)
    worker_totals = WorkerTotals()
    confirmed = ConfirmedRequests(traffic.loads, worker_totals.clients, worker_totals, clock)
    publisher = Publisher(traffic, time.monotonic, busy=confirmed.busy)
    traffic.connect(publisher, confirmed)
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
        counting=CountingOptions(history=history),
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
        engines=kinds,
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
        alarms=lambda: (*loop.alarms, *engines.alarms, *gates.alarms, *traffic.alarms),
        observer=metrics,
    )
    server = build_server(deps, options=_server_options(settings, xds))
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
        server,
        lifecycle,
        metrics,
        clock,
        shift_s,
    )


def steady_clock(settings: Settings) -> SteadyClock:
    """Return the daemon's clock, set by the wall's; tests move that one by a setting, never the machine's."""
    return SteadyClock(lambda: time.time() + read_offset(settings.test_wall_offset_file), time.monotonic)


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
    """Return where gates keep evidence, without what belongs to rollouts that are over."""
    files = EvidenceFiles(settings.state_dir)
    files.keep_only({m.rollout.rollout_id for m in state.models.values() if m.rollout is not None})
    return files


def _engine_options(settings: Settings) -> EngineProcessOptions:
    return EngineProcessOptions(
        settings.state_dir,
        kinds=_kinds(settings),
        standby_count=settings.standby_workers,
        bytecode_cache=default_bytecode_cache(Path.home()),
    )


def _kinds(settings: Settings) -> tuple[EngineKind, ...]:
    """Return the kinds of engines; each that a setting names is looked at, so that a missing one is told before a port is bound.

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


async def run(daemon: Daemon) -> None:
    """Recover, then serve until SIGTERM or SIGINT. Engines that serve go on; the next daemon adopts them.

    Raises:
        ListenError: the address is taken.
        UnownedEnginesError: the database is empty, and engines serve.
    """
    settings = daemon.settings
    try:
        port = daemon.server.add_insecure_port(str(settings.listen))
    except RuntimeError as error:
        raise ListenError(f"cannot listen on {settings.listen}: {error}. Is another daemon running?") from error
    await recover(daemon)
    background = [
        asyncio.create_task(daemon.loop.run(settings.tick_interval_s), name="loop"),
        asyncio.create_task(daemon.xds.ads.run(), name="ads"),
        asyncio.create_task(daemon.history.run(), name="history"),
        asyncio.create_task(HeapTrimmer(GlibcHeap()).run(), name="heap"),
        asyncio.create_task(daemon.sampler.run(), name="memory"),
    ]
    stopping = asyncio.create_task(_wait_for_signal(), name="signals")
    await daemon.server.start()
    log.info("daemon.serving", address=f"{settings.listen.host}:{port}", state_dir=str(settings.state_dir))
    try:
        await asyncio.wait([*background, stopping], return_when=asyncio.FIRST_COMPLETED)
        for task in background:
            if task.done():
                task.result()  # a loop never ends by itself; whatever ended it must be seen
    finally:
        await close(daemon, [*background, stopping])


async def recover(daemon: Daemon) -> None:
    """Go on where the store says: adopt engines, hand out every implied effect, then let xDS streams in.

    Raises:
        UnownedEnginesError: nothing was ever written to the store, and engines serve.
    """
    settings = daemon.settings
    if daemon.loop.state.store_epoch == 0 and not settings.sweep_unowned:
        await asyncio.to_thread(refuse_unowned, settings.state_dir.resolve())
    found = await daemon.engines.adopt()
    await daemon.loop.handle(await daemon.sampler.first())
    if daemon.clock_shift_s:
        log.warning("clock.set", seconds=daemon.clock_shift_s)
    await daemon.loop.handle(Recovered(daemon.clock(), found, daemon.clock_shift_s))
    killed = await daemon.engines.sweep(owned_engines(daemon.loop.state))
    daemon.xds.traffic.open()
    daemon.engines.open()
    log.info("daemon.recovered", models=len(daemon.loop.state.models), adopted=len(found), swept=killed)


async def close(daemon: Daemon, background: list[asyncio.Task[None]]) -> None:
    """End everything in order: no new calls, no more events, engines left alone, store last."""
    daemon.lifecycle.begin_stop()
    daemon.xds.ads.close()
    daemon.xds.lrs.close()
    grace = daemon.settings.shutdown_grace_s
    with contextlib.suppress(TimeoutError):
        # grpc.aio's own grace does not always end; the outer deadline does.
        async with asyncio.timeout(grace + 2.0):
            await daemon.server.stop(grace)
    for task in background:
        task.cancel()
    await asyncio.gather(*background, return_exceptions=True)
    await daemon.planner.aclose()
    await daemon.gates.aclose()
    await daemon.engines.close()
    await daemon.prober.close()
    await daemon.scorer.close()
    await daemon.loop.close()
    log.info("daemon.stopped")


async def _wait_for_signal() -> None:
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    await stop.wait()


class ListenError(Exception):
    """The address cannot be listened on."""


async def _serve(settings: Settings) -> None:
    prepare_state_dir(settings.state_dir)
    clock = steady_clock(settings)
    with (
        StateDirLock(settings.state_dir) as lock,
        contextlib.closing(SqlStore.open(settings.state_dir, lock, boot_moments(clock))) as store,
    ):
        daemon = assemble(settings, store, clock)
        metrics = MetricsServer(settings.metrics_listen, daemon.metrics.registry) if settings.metrics_listen else None
        try:
            await run(daemon)
        finally:
            if metrics is not None:
                metrics.stop()


def _check(settings: Settings) -> None:
    """Say what the daemon would run with.

    Raises:
        StateDirError: the state directory cannot be used.
    """
    prepare_state_dir(settings.state_dir)
    with StateDirLock(settings.state_dir):
        for setting in Settings.model_fields:
            print(f"{setting}: {getattr(settings, setting)}")  # noqa: T201 - the command's output
        for device in find_devices(host_memory_bytes=settings.host_memory_bytes):
            free = device.capacity_bytes - device.reserve_bytes
            print(f"device {device.device_id}: {device.name}, {device.capacity_bytes} bytes, {free} for models")  # noqa: T201 - as above
        for kind in filter(lambda kind: kind.is_configured, _kinds(settings)):
            print(f"engine {kind.name}: {kind.version({})}")  # noqa: T201 - as above
        if not settings.model_roots:
            print("warning: no --model-root, so nothing can be loaded")  # noqa: T201 - as above


async def _stop_engines(settings: Settings) -> None:
    """End every engine of a state directory whose daemon is not running."""
    prepare_state_dir(settings.state_dir)
    with StateDirLock(settings.state_dir):
        clocks = Clocks(time.time, time.monotonic)
        options = EngineProcessOptions(settings.state_dir, standby_count=0)
        sinks = EngineSinks(lambda _event: None, WorkerTotals(), AdapterFaults(lambda _event: None, time.time).report)
        engines = EngineProcesses(options, sinks, clocks, new_id)
        await engines.adopt()
        count = await engines.sweep(frozenset())
        await engines.close()
        for alarm in engines.alarms:
            print(alarm)  # noqa: T201 - the command's output
        print(f"{count} engines ended")  # noqa: T201 - the command's output


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code: 0 done, 1 it failed, 2 settings are wrong."""
    command, options = parse(arguments)
    try:
        settings = load_settings(options)
    except SettingsInvalidError as error:
        return _say(2, *(f"{v.field}: {v.description}" for v in error.failure.violations))
    configure_logging(settings.log_level)
    for old, new in old_names_given(options).items():
        log.warning("setting.renamed", given=old, give_instead=new)
    try:
        match command:
            case "serve":
                asyncio.run(_serve(settings))
            case "check":
                _check(settings)
            case _:
                asyncio.run(_stop_engines(settings))
    except SettingsInvalidError as error:
        return _say(2, str(error))
    except (ListenError, UnownedEnginesError, CoreFaultError, DaemonError) as error:
        return _say(1, str(error))
    return 0


def _say(code: int, *lines: str) -> int:
    for line in lines:
        print(f"echoplaned: {line}", file=sys.stderr)  # noqa: T201 - the command's errors
    return code


if __name__ == "__main__":
    sys.exit(main())
