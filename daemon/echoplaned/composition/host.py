"""Wiring of what runs, asks and measures on this machine."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from echoplaned.composition.counts import Counts
from echoplaned.core.queries import find_facts
from echoplaned.engine_kinds import EngineKind, configure_kinds
from echoplaned.engines.engine_processes import EngineProcesses, EngineProcessOptions
from echoplaned.engines.launcher import default_bytecode_cache, leader_environment
from echoplaned.engines.leaders import Clocks, EngineSinks
from echoplaned.engines.probing import OipProber
from echoplaned.engines.scoring import OipScorer
from echoplaned.engines.sinks import Tracing
from echoplaned.planning.adapter import Allocator
from echoplaned.planning.instance_planner import InstancePlanner
from echoplaned.planning.measuring import Meter
from echoplaned.planning.sampler import MemorySampler
from echoplaned.runtime.clock import SteadyClock
from echoplaned.runtime.ids import new_id
from echoplaned.runtime.loop import Loop
from echoplaned.setting_paths import home_directory
from echoplaned.settings import Settings, SettingsInvalidError, setting_violation


@dataclass(frozen=True, slots=True)
class Host:
    """What runs, asks and measures on this machine.

    Attributes:
        kinds: every kind of engine.
        versions: version of each kind that is configured, by its name.
        engines: engine processes.
        prober: single golden probes, for gates and health checks.
        scorer: golden texts scored by engines, for the gates.
        allocator: answers what fits.
        planner: placement of instances on devices.
        sampler: measurement of the devices' memory.
    """

    kinds: tuple[EngineKind, ...]
    versions: Mapping[str, str]
    engines: EngineProcesses
    prober: OipProber
    scorer: OipScorer
    allocator: Allocator
    planner: InstancePlanner
    sampler: MemorySampler


def make_host(settings: Settings, loop: Loop, counts: Counts, clock: SteadyClock) -> Host:
    """Wire what works on this machine.

    Raises:
        SettingsInvalidError: an engine that a setting names is not there.
    """
    options = _engine_options(settings)
    engines = _make_engines(settings, options, loop, counts)
    kinds = {kind.name: kind for kind in options.kinds if kind.is_configured}
    versions = {name: kind.version(leader_environment(options.launch(kind))) for name, kind in kinds.items()}
    meter = Meter(loop.state.devices, engines.leader_pids)
    allocator = Allocator(settings.model_roots, versions, meter)
    return Host(
        options.kinds,
        versions,
        engines,
        OipProber(time.monotonic, engines.control_key_at, counts.workers.probe_answered),
        OipScorer(engines.control_key_at, counts.workers.probe_answered),
        allocator,
        InstancePlanner(loop.emit, clock, allocator.plan, loop.faults.report, settings.memory_wait_s),
        MemorySampler(meter, loop.emit, clock, lambda: loop.state, partial(loop.faults.note, "memory", ())),
    )


def _engine_options(settings: Settings) -> EngineProcessOptions:
    home = home_directory()
    return EngineProcessOptions(
        settings.state_dir,
        kinds=find_kinds(settings),
        standby_count=settings.standby_workers,
        bytecode_cache=default_bytecode_cache(home) if home is not None else None,
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


def _make_engines(settings: Settings, options: EngineProcessOptions, loop: Loop, counts: Counts) -> EngineProcesses:
    tracing = Tracing(counts.traces, settings.trace_sampling_ratio, loop.now_s)
    sinks = EngineSinks(loop.emit, counts.workers, loop.faults.report, tracing, lambda key: find_facts(loop.state, key))
    return EngineProcesses(options, sinks, Clocks(loop.now_s, time.monotonic), lambda: f"w-{new_id()}")
