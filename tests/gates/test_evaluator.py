"""Computing beside the event loop: order, cancellation, and gates that break. One made-up gate that remembers what it was given."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import pytest

from echoplaned.core.effects import EvaluateGates
from echoplaned.core.events import Event, GatesJudged
from echoplaned.core.fault import EffectKey
from echoplaned.core.ids import VersionKey
from echoplaned.core.rollout_state import GateVerdict, Phase, Rollout, Verdict
from echoplaned.core.spec import RolloutPolicy
from echoplaned.core.state import Model, State
from echoplaned.gates.collector import Collector, Job, RolloutContext
from echoplaned.gates.counting import CountingOptions, CountsCollector
from echoplaned.gates.evaluator import GateDependencies
from echoplaned.gates.gate import Ask, Gate, JudgeContext, Judgement, Need, Observation, Start
from echoplaned.gates.runner import GateRunner
from echoplaned.gates.window import Window
from echoplaned.ports.request_counts import RequestCounts
from echoplaned.ports.traffic import EngineCounters

Entries = tuple[str, ...]


@dataclass
class Remembering:
    """A gate whose evidence is the list of what it was given; ``hook`` runs in each observation."""

    hook: Callable[[Observation], None] = lambda _: None
    threads: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        """Return its name."""
        return "remembering"

    def needs(self) -> frozenset[Need]:
        """Nothing."""
        return frozenset()

    def begin(self, start: Start) -> Entries:
        """Note the first window."""
        return (f"begin {start.window.number}",)

    def enter(self, evidence: Entries, window: Window) -> Entries:
        """Note a window."""
        return (*evidence, f"enter {window.number}")

    def observe(self, evidence: Entries, seen: Observation) -> Entries:
        """Note how many requests were counted."""
        self.threads.add(threading.current_thread().name)
        self.hook(seen)
        return (*evidence, *(f"+{interval.requests}" for _, interval in seen.intervals if interval.requests))

    def judge(self, evidence: Entries, moment: JudgeContext) -> Judgement:
        """Tell all of it."""
        assert moment.asked == ()
        return Judgement(Verdict(self.name, GateVerdict.HOLD, " ".join(evidence)))


@dataclass
class Idle:
    """A collector that does nothing but run a job."""

    job: Job

    def add_to(self, seen: Observation) -> Observation:
        """Add nothing."""
        return seen

    def take(self, asks: tuple[Ask, ...]) -> None:
        """Take nothing."""
        assert asks == ()

    def enter(self) -> None:
        """Do nothing."""

    def jobs(self) -> Mapping[str, Job]:
        """Return the job."""
        return {"job": self.job}


@dataclass
class World:
    """One rollout, counts that a test sets, and what came out."""

    gate: Remembering = field(default_factory=Remembering)
    job: Job | None = None
    counts: RequestCounts = field(default_factory=RequestCounts)
    lacking: EngineCounters | None = None
    reasons: list[str] = field(default_factory=list)
    failures: list[tuple[EffectKey, BaseException]] = field(default_factory=list)
    state: State = field(default_factory=State)

    def __post_init__(self) -> None:
        self.place(
            Rollout("r1", "m", "v1", "v2", RolloutPolicy(), "op1", phase=Phase.OBSERVING, stage=1, evidence_window=1)
        )

    def place(self, rollout: Rollout) -> Rollout:
        """Set the rollout."""
        self.state = State(models=MappingProxyType({"m": Model("m", rollout=rollout)}))
        return rollout

    @property
    def rollout(self) -> Rollout:
        """The rollout as it is."""
        rollout = self.state.models["m"].rollout
        assert rollout is not None
        return rollout

    @property
    def gates(self) -> tuple[Gate[Any], ...]:
        """The list of one gate (``GateList``)."""
        return (self.gate,)

    def open(self, context: RolloutContext) -> tuple[CountsCollector, tuple[Collector, ...]]:
        """Return what counts, and what runs beside it (``GateList``)."""
        others = (Idle(self.job),) if self.job is not None else ()
        return CountsCollector({"WORKER": self}, self, CountingOptions(), context), others

    def totals(self) -> Mapping[VersionKey, RequestCounts]:
        """Return what was set (the port ``TrafficSource``)."""
        return {VersionKey("m", "v2"): self.counts}

    def engine_counters(self, version: VersionKey) -> EngineCounters | None:
        """Return what was set (the port ``EngineCounterSource``)."""
        return self.lacking if version.version == "v2" else None

    def emit(self, event: Event) -> None:
        """Take a verdict's words."""
        assert isinstance(event, GatesJudged)
        self.reasons.append(event.verdicts[0].reason)

    def runner(self) -> GateRunner:
        """Return a runner in this world."""
        dependencies = GateDependencies(
            self.emit,
            lambda: 1000.0,
            lambda: self.state,
            failed=lambda key, error: self.failures.append((key, error)),
            interval_s=0.01,
        )
        return GateRunner(dependencies, self)

    async def until(self, came_true: Callable[[], bool]) -> None:
        """Wait for something, at most 10 s."""
        async with asyncio.timeout(10):
            while not came_true():
                await asyncio.sleep(0.002)


async def test_the_loop_goes_on_while_evidence_is_computed() -> None:
    """Gates run in threads of their own; a window that is entered meanwhile comes after what was read before it."""
    going_on, computing = threading.Event(), threading.Event()

    def slow(seen: Observation) -> None:
        if seen.interval("WORKER").requests == 7:
            computing.set()
            assert going_on.wait(10)

    world = World(Remembering(slow))
    async with aclosing(world.runner()) as runner:
        runner.evaluate(EvaluateGates(world.rollout), world.state)
        await world.until(lambda: bool(world.reasons))
        world.counts = RequestCounts(ok=7, arrivals=7)
        await world.until(computing.is_set)
        known = len(world.reasons)
        world.counts = RequestCounts(ok=12, arrivals=12)
        runner.evaluate(EvaluateGates(world.place(replace(world.rollout, stage=2, evidence_window=2))), world.state)
        await asyncio.sleep(0.05)
        assert len(world.reasons) == known
        going_on.set()
        await world.until(lambda: world.reasons[-1] == "begin 1 +7 +5 enter 2")
    assert all(name.startswith("gates") for name in world.gate.threads)


async def test_a_cancelled_computation_is_done_again() -> None:
    """Judging that is stopped in the middle and asked for again has lost no count, and has none twice."""
    going_on, computing = threading.Event(), threading.Event()

    def slow(seen: Observation) -> None:
        if seen.interval("WORKER").requests == 7:
            computing.set()
            assert going_on.wait(10)

    world = World(Remembering(slow))
    async with aclosing(world.runner()) as runner:
        runner.evaluate(EvaluateGates(world.rollout), world.state)
        await world.until(lambda: bool(world.reasons))
        world.counts = RequestCounts(ok=7, arrivals=7)
        await world.until(computing.is_set)
        runner._evaluators[world.rollout.rollout_id].stop()
        world.counts = RequestCounts(ok=12, arrivals=12)
        await asyncio.sleep(0.02)
        going_on.set()
        runner.evaluate(EvaluateGates(world.place(replace(world.rollout, evidence_window=2))), world.state)
        await world.until(lambda: world.reasons[-1] == "begin 1 +7 +5 enter 2")


class PanicError(BaseException):
    """What a Rust panic looks like: no ``Exception``."""


@pytest.mark.parametrize("kind", [ValueError, PanicError])
async def test_a_gate_that_breaks_is_reported_and_waits(kind: type[BaseException]) -> None:
    """What a gate raises goes to one callback with the effect's key; asked again, it goes on without what it broke on."""

    def break_on_seven(seen: Observation) -> None:
        if seen.interval("WORKER").requests == 7:
            raise kind("bad luck")

    world = World(Remembering(break_on_seven))
    async with aclosing(world.runner()) as runner:
        runner.evaluate(EvaluateGates(world.rollout), world.state)
        await world.until(lambda: bool(world.reasons))
        world.counts = RequestCounts(ok=7, arrivals=7)
        await world.until(lambda: bool(world.failures))
        known = len(world.reasons)
        await asyncio.sleep(0.05)
        assert len(world.reasons) == known
        runner.evaluate(EvaluateGates(world.rollout), world.state)
        world.counts = RequestCounts(ok=9, arrivals=9)
        await world.until(lambda: world.reasons[-1] == "begin 1 +2")
    ((key, error),) = world.failures
    assert key == EvaluateGates(world.rollout).key
    assert isinstance(error, kind)


async def test_a_collector_that_breaks_is_reported_alike() -> None:
    """A job beside the judge is a task like another: its end is no silence."""

    async def broken() -> None:
        await asyncio.sleep(0.01)
        raise ConnectionResetError

    world = World(job=broken)
    async with aclosing(world.runner()) as runner:
        runner.evaluate(EvaluateGates(world.rollout), world.state)
        await world.until(lambda: len(world.failures) >= 1)
        runner.evaluate(EvaluateGates(world.rollout), world.state)
        await world.until(lambda: len(world.failures) >= 2)
    assert {type(error) for _, error in world.failures} == {ConnectionResetError}


async def test_what_broke_is_not_begun_again_once_it_is_forgotten() -> None:
    """Whoever stops judging between a fault and its retry has stopped it."""

    async def broken() -> None:
        raise ConnectionResetError

    world = World(job=broken)
    runner = world.runner()
    runner.evaluate(EvaluateGates(world.rollout), world.state)
    await world.until(lambda: bool(world.failures))
    runner.end(world.rollout.rollout_id)
    await runner.aclose()
    known = len(world.failures)
    await asyncio.sleep(0.05)
    assert len(world.failures) == known
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("gates")] == []


async def test_a_window_that_is_asked_for_again_is_gone_on_with() -> None:
    """An effect that is handed out twice does not begin its window's counts anew."""
    world = World()
    async with aclosing(world.runner()) as runner:
        runner.evaluate(EvaluateGates(world.rollout), world.state)
        await world.until(lambda: bool(world.reasons))
        runner.evaluate(EvaluateGates(world.rollout), world.state)
        world.counts = RequestCounts(ok=3, arrivals=3)
        await world.until(lambda: world.reasons[-1] == "begin 1 +3")


async def test_what_engines_lack_is_observed() -> None:
    """The counters that the new version's engines have not are in each observation, under their need and version."""
    found: list[tuple[str, str, bool]] = []

    def note(seen: Observation) -> None:
        found[:] = [(lack.need.value, lack.version, lack.replaced) for lack in seen.lacks]

    world = World(Remembering(note), lacking=EngineCounters(counts_errors=True, has_traces=True))
    async with aclosing(world.runner()) as runner:
        runner.evaluate(EvaluateGates(world.rollout), world.state)
        await world.until(lambda: bool(world.reasons))
    assert found == [("ARRIVALS", "v2", False), ("HISTOGRAMS", "v2", False)]
