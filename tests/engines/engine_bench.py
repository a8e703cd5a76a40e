"""A real torch engine for tests, with its answers in a list."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from echoplaned.core.effects import DrainEngine, ProbeEngine, StartEngine, StopEngine
from echoplaned.core.engine_events import EngineReady
from echoplaned.core.events import Event
from echoplaned.core.facts import Dtype, ModelFacts, Task
from echoplaned.core.ids import InstanceKey, VersionKey
from echoplaned.core.measure import Histogram
from echoplaned.core.placement import on_one_device
from echoplaned.core.signature import signature_for
from echoplaned.core.spec import ServingShape, VersionSpec
from echoplaned.core.token_counts import TokenCounts
from echoplaned.engine_kinds import KINDS, EngineKind
from echoplaned.engines.engine_processes import EngineProcesses, EngineProcessOptions
from echoplaned.engines.instance import StuckLimits
from echoplaned.engines.inventory import scan
from echoplaned.engines.launcher import LaunchOptions, default_bytecode_cache
from echoplaned.engines.leaders import Clocks, EngineSinks
from echoplaned.engines.serving_prober import FactsOf
from echoplaned.engines.sinks import Tracing
from echoplaned.ports.request_counts import RequestCounts
from echoplaned.ports.traffic import EngineCounters
from echoplaned.runtime.faults import AdapterFaults

KEY = InstanceKey(VersionKey("m", "v1"), 0)
E = TypeVar("E")


@dataclass
class Bench:
    """An engine and what it said."""

    state_dir: Path
    engine: EngineProcesses
    events: list[Event] = field(default_factory=list)
    counts: dict[str, RequestCounts] = field(default_factory=dict)
    ended_processes: list[str] = field(default_factory=list)

    def update(self, version: VersionKey, process: str, counts: RequestCounts) -> None:
        """Take counters, as a ``CounterSink``."""
        assert version == KEY.version
        self.counts[process] = counts

    def on_ended(self, version: VersionKey, process: str) -> None:
        """Take the end of a worker, as a ``CounterSink``."""
        assert version == KEY.version
        self.ended_processes.append(process)

    async def wait_for(self, kind: type[E], timeout_s: float = 100.0) -> E:
        """Return the next event of a kind and forget it and those before it."""
        async with asyncio.timeout(timeout_s):
            while True:
                for index, event in enumerate(self.events):
                    if isinstance(event, kind):
                        del self.events[: index + 1]
                        return event
                await asyncio.sleep(0.02)

    def workers(self) -> list[str]:
        """Return the ids of the live workers of the state directory."""
        return [worker.worker_id for worker in scan(self.state_dir)]


async def until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    """Wait for something that other processes do."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.05)


def launch_options(state_dir: Path) -> LaunchOptions:
    """Return how workers are launched in tests."""
    return LaunchOptions(state_dir, bytecode_cache=default_bytecode_cache(Path.home()))


@asynccontextmanager
async def open_bench(
    state_dir: Path,
    *,
    standby_count: int = 0,
    keep_workers: bool = False,
    tracing: Tracing | None = None,
    kinds: tuple[EngineKind, ...] = KINDS,
    facts_of: FactsOf = lambda _version: None,
    stuck: StuckLimits = StuckLimits(),  # noqa: B008 - frozen
) -> AsyncIterator[Bench]:
    """Make an engine that keeps no spares; close it, and kill what it left unless that is wanted.

    ``facts_of``: by which engines are probed while they serve. ``stuck``: when they are.
    """
    numbers = itertools.count(time.monotonic_ns())
    bench: Bench

    def emit(event: Event) -> None:
        bench.events.append(event)

    class Sink:
        """Passes counters on to the bench."""

        def update(self, version: VersionKey, process: str, counts: RequestCounts) -> None:
            """Pass on."""
            bench.update(version, process, counts)

        def timed(self, version: VersionKey, process: str, latencies: tuple[Histogram, ...]) -> None:
            """Nobody asks."""

        def count_tokens(
            self, version: VersionKey, process: str, tokens: TokenCounts | None, *, is_adopted: bool
        ) -> None:
            """Nobody asks."""

        def declare(self, version: VersionKey, process: str, counters: EngineCounters) -> None:
            """Leave it: every counter of these engines is looked at itself."""

        def on_ended(self, version: VersionKey, process: str) -> None:
            """Pass on."""
            bench.on_ended(version, process)

    clocks = Clocks(time.time, time.monotonic)
    options = EngineProcessOptions(state_dir, kinds, standby_count, default_bytecode_cache(Path.home()), stuck)
    sinks = EngineSinks(emit, Sink(), AdapterFaults(emit, time.time).report, tracing, facts_of)
    engine = EngineProcesses(options, sinks, clocks, lambda: f"w{next(numbers)}")
    bench = Bench(state_dir, engine)
    try:
        yield bench
    finally:
        await engine.close()
        if not keep_workers:
            for worker in scan(bench.state_dir):
                os.kill(worker.pid, signal.SIGKILL)


def facts(task: Task = Task.EMBEDDING, width: int = 128) -> ModelFacts:
    """Return the facts of a test checkpoint."""
    signature = signature_for(task, embedding_width=width, label_count=3)
    return ModelFacts("BertModel", task, 520_000, Dtype.FP32, 2_000_000, 512, "small", "blake3:0", signature)


def start(source: Path, generation: int = 1, **options: str) -> StartEngine:
    """Return the effect that starts ``m/v1#0``."""
    spec = VersionSpec(
        source_uri=source.as_uri(),
        source_path=str(source),
        digest="",  # nobody inspected it: whatever is there is loaded
        shape=ServingShape(Dtype.FP32, 64, 4, "torch", options=tuple(sorted(options.items()))),
    )
    return StartEngine(KEY, generation, on_one_device("host", 2_000_000), spec, facts())


def probe(ready: EngineReady, width: int = 128) -> ProbeEngine:
    """Return the effect that probes a ready instance."""
    return ProbeEngine(ready.instance, ready.generation, ready.endpoints, facts(width=width))


def drain(deadline_s: float, generation: int = 1) -> DrainEngine:
    """Return the effect that drains ``m/v1#0``."""
    return DrainEngine(KEY, generation, deadline_s)


def stop(generation: int = 1) -> StopEngine:
    """Return the effect that stops ``m/v1#0``."""
    return StopEngine(KEY, generation)


def is_running(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
