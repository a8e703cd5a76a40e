"""Where the contract suite plays: one subject's engines in one directory.

The directory is a daemon's state directory; everything that the engines said is kept beside it.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from echoplaned.core.effects import DrainEngine, ProbeEngine, StartEngine, StopEngine
from echoplaned.core.engine_events import EngineReady, EngineStopped
from echoplaned.core.events import Event
from echoplaned.core.facts import ModelFacts
from echoplaned.core.ids import InstanceKey, VersionKey
from echoplaned.core.measure import Histogram
from echoplaned.core.placement import on_one_device
from echoplaned.core.spec import VersionSpec
from echoplaned.core.token_counts import TokenCounts
from echoplaned.engine_kinds import EngineKind
from echoplaned.engines.engine_processes import EngineProcesses, EngineProcessOptions
from echoplaned.engines.instance import StuckLimits
from echoplaned.engines.inventory import family_of
from echoplaned.engines.launcher import default_bytecode_cache
from echoplaned.engines.leaders import Clocks, EngineSinks
from echoplaned.engines.sinks import Tracing
from echoplaned.engines.trace_store import TraceStore
from echoplaned.ports.request_counts import RequestCounts
from echoplaned.ports.traffic import EngineCounters
from echoplaned.runtime.faults import AdapterFaults
from echoplaned.worker_contract.family import Family, Member, end_family, find_marked, find_members, read_mark
from echoplaned.worker_contract.mark import VARIABLE, read_state_dir_id
from echoplaned.worker_contract.record import WorkerRecord, read_records, records_dir

E = TypeVar("E")

KEY = InstanceKey(VersionKey("m", "v1"), 0)
WAIT_S = 300.0
"""Longest wait for an engine on a busy machine, in seconds."""


@dataclass(frozen=True, slots=True)
class Subject:
    """An engine kind under test.

    Attributes:
        name: for people.
        kind: its declaration, with limits that are short enough for a test.
        spec: a version that it can serve.
        facts: what the daemon knows of the version.
        broken: the same version as one that cannot be loaded.
        endless: the same version as one whose start never ends.
        lacks: what it does not have, by the names of ``Need``, each with the reason.
        broken_reason: what the failure of ``broken`` says.
        start_wait_s: how long a test waits for its start.
        kv_cache_bytes: what the plan gives its cache; 0: nothing is said.
    """

    name: str
    kind: EngineKind
    spec: VersionSpec
    facts: ModelFacts
    broken: VersionSpec
    endless: VersionSpec
    lacks: dict[str, str] = field(default_factory=dict)
    broken_reason: str = "not finite"
    start_wait_s: float = WAIT_S
    kv_cache_bytes: int = 0


class Stage:
    """Engines of one subject, on which cases are played.

    A case begins with whatever the one before it left, and asks for what it needs.

    Args:
        subject: who plays.
        state_dir: where; absolute, without links.
    """

    def __init__(self, subject: Subject, state_dir: Path) -> None:
        self.subject = subject
        self.state_dir = state_dir
        self.events: list[Event] = []
        self.counts: dict[str, RequestCounts] = {}
        self.declared: EngineCounters | None = None
        self.tokens: TokenCounts | None = None
        self.traces = TraceStore()
        self.generation = 0
        self.ready: EngineReady | None = None
        self.is_begun = False
        self._strays: list[subprocess.Popen[bytes]] = []
        self._numbers = itertools.count(time.monotonic_ns())
        self.engines = self._open()

    # --- the sink of counters ---

    def update(self, version: VersionKey, process: str, counts: RequestCounts) -> None:
        """Take an engine's counters."""
        if version == KEY.version:
            self.counts[process] = counts

    def timed(self, version: VersionKey, process: str, latencies: tuple[Histogram, ...]) -> None:
        """Nobody asks."""

    def count_tokens(self, version: VersionKey, process: str, tokens: TokenCounts | None, *, is_adopted: bool) -> None:
        """Take an engine's tokens."""
        del process, is_adopted
        if version == KEY.version:
            self.tokens = tokens

    def declare(self, version: VersionKey, process: str, counters: EngineCounters) -> None:
        """Take which counters an engine has."""
        del version, process
        self.declared = counters

    def on_ended(self, version: VersionKey, process: str) -> None:
        """Take a leader's end."""
        del version, process

    # --- acts ---

    async def start(self) -> EngineReady:
        """Return a serving instance: the one that there is, or a new generation."""
        if self.ready is None:
            await self.begin()
            self.ready = await self.wait_for(EngineReady, self.subject.start_wait_s)
        return self.ready

    async def begin(self, spec: VersionSpec | None = None) -> None:
        """Begin to start a new generation, with nothing left of the one before."""
        if self.is_begun:
            await self.stop()
        self.generation += 1
        self.is_begun = True
        self.engines.start(self.start_effect(spec))

    async def stop(self) -> None:
        """Stop the generation, whatever it does."""
        self.engines.stop(StopEngine(KEY, self.generation))
        await self.wait_for(EngineStopped)
        self.has_ended()

    def has_ended(self) -> None:
        """The generation is over."""
        self.ready, self.is_begun = None, False

    def stray_child(self, mark: str) -> subprocess.Popen[bytes]:
        """Start what an engine may leave: a marked process that nobody knows of.

        It has a session of its own.
        """
        process = subprocess.Popen(["/bin/sleep", "3600"], env={**os.environ, VARIABLE: mark}, start_new_session=True)
        self._strays.append(process)
        # For a moment after its exec a process has no environment that could be read.
        while not read_mark(process.pid):
            time.sleep(0.01)
        return process

    async def reopen(self, *, change: Callable[[], None] = lambda: None) -> None:
        """Let go of the engines as a daemon that ends, and begin as the next one.

        Args:
            change: what happens meanwhile.
        """
        await self.engines.close()
        change()
        self.events.clear()
        self.engines = self._open()

    async def close(self) -> None:
        """End everything that was started."""
        await self.engines.close()
        for process in self._strays:
            process.kill()
            process.wait()
        for one in self.marked():
            end_family(Family(one.session, one.start_ticks), 10.0)

    def start_effect(self, spec: VersionSpec | None = None) -> StartEngine:
        """Return the effect that starts this generation."""
        subject, placement = self.subject, on_one_device("host", 0)
        order = (KEY, self.generation, placement, spec or subject.spec, subject.facts)
        return StartEngine(*order, kv_cache_bytes=subject.kv_cache_bytes)

    def probe_effect(self) -> ProbeEngine:
        """Return the effect that probes this generation."""
        endpoints = self.ready.endpoints if self.ready is not None else ()
        return ProbeEngine(KEY, self.generation, endpoints, self.subject.facts)

    def drain_effect(self, timeout_s: float) -> DrainEngine:
        """Return the effect that drains this generation."""
        return DrainEngine(KEY, self.generation, time.time() + timeout_s)

    # --- looks ---

    async def wait_for(self, kind: type[E], timeout_s: float = WAIT_S) -> E:
        """Return the next event of a kind; forget it and those before it."""
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    for index, event in enumerate(self.events):
                        if isinstance(event, kind):
                            del self.events[: index + 1]
                            return event
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"no {kind.__name__} within {timeout_s:g} s, but {self.events}") from None

    def record(self) -> WorkerRecord:
        """Return the record of the one leader that there is."""
        records = read_records(self.state_dir)
        check(len(records) == 1, f"there are {len(records)} records, not one: {records}")
        return records[0]

    def record_path(self) -> Path:
        """Return where that record is."""
        return records_dir(self.state_dir) / f"{self.record().worker_id}.json"

    def family(self) -> Family:
        """Return the processes of that leader's engine."""
        return family_of(self.record())

    def marked(self) -> tuple[Member, ...]:
        """Return every live process that carries a mark of this state directory."""
        return tuple(one for one, _ in find_marked(read_state_dir_id(records_dir(self.state_dir))))

    async def expect_nothing_left(self, family: Family) -> None:
        """Check that no process of a family and no record is left now.

        It does not wait: a little later would be too late.
        """
        left = await asyncio.to_thread(find_members, family)
        check(not left, f"processes are left: {left}")
        check(not read_records(self.state_dir), "a record is left")

    def _open(self) -> EngineProcesses:
        options = EngineProcessOptions(
            self.state_dir,
            (self.subject.kind,),
            standby_count=0,
            bytecode_cache=default_bytecode_cache(Path.home()),
            stuck=StuckLimits(first_report_s=4.0),
        )
        sinks = EngineSinks(
            self.events.append,
            self,
            AdapterFaults(self.events.append, time.time).report,
            Tracing(self.traces, 1.0, time.time),
        )
        return EngineProcesses(options, sinks, Clocks(time.time, time.monotonic), lambda: f"w{next(self._numbers)}")


@asynccontextmanager
async def open_stage(subject: Subject, state_dir: Path) -> AsyncGenerator[Stage, None]:
    """Yield a stage; nothing that was started on it is left afterwards."""
    stage = Stage(subject, state_dir)
    stage.engines.open()
    try:
        yield stage
    finally:
        await stage.close()


def was_killed(process: subprocess.Popen[bytes], timeout_s: float = 5.0) -> bool:
    """Say whether a process was killed; it is ours, so it is reaped here."""
    try:
        return process.wait(timeout_s) == -signal.SIGKILL
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False


def check(good: object, what: str) -> None:
    """Fail a case with a sentence.

    Raises:
        AssertionError: it is not good.
    """
    if not good:
        raise AssertionError(what)


def with_option(spec: VersionSpec, name: str) -> VersionSpec:
    """Return a version with an engine option set."""
    return replace(spec, shape=replace(spec.shape, options=((name, "1"),)))
