"""The loop's planner: a device in the loop's turn; whatever reads files in a thread, and its answer as an event."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from echoplaned.core.calibration import MemoryUsage
from echoplaned.core.commands import LoadVersion, Request
from echoplaned.core.effects import ExplainMemory, PlaceInstance
from echoplaned.core.engine_events import MemorySampled
from echoplaned.core.errors import SourceCorruptError
from echoplaned.core.events import Event, InstancePlaced, PlacementRefused
from echoplaned.core.failure import Reason
from echoplaned.core.fault import EffectKey
from echoplaned.core.fit import fit_error
from echoplaned.core.ids import InstanceKey
from echoplaned.core.placement import on_one_device
from echoplaned.core.plan import Plan
from echoplaned.core.state import State
from echoplaned.planning import host_device, inspect_checkpoint
from echoplaned.planning.adapter import Allocator
from echoplaned.planning.instance_planner import InstancePlanner
from echoplaned.ports.planning import PlanQuestion
from echoplaned.runtime.faults import AdapterFaults
from echoplaned.testing import builders

KEY = InstanceKey.parse("m/v1#0")
SMALL = builders.device(capacity_bytes=builders.MIB)


@dataclass
class Bench:
    """A planner, what it said and in which thread, and a gate that plans wait at."""

    events: list[Event] = field(default_factory=list)
    emitting: set[int] = field(default_factory=set)
    planning: list[int] = field(default_factory=list)
    gone: bool = False
    bug: BaseException | None = None
    faults: list[tuple[EffectKey, BaseException]] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        """Make the planner; its gate is open."""
        self.gate.set()
        self.planner = InstancePlanner(
            self.emit, lambda: 7.0, self.plan, lambda key, error: self.faults.append((key, error))
        )

    def emit(self, event: Event) -> None:
        """Note an event."""
        self.events.append(event)
        self.emitting.add(threading.get_ident())
        self.arrived.set()

    def plan(self, question: PlanQuestion, state: State) -> Plan:
        """Answer as the allocator would: a plan that does not fit."""
        self.planning.append(threading.get_ident())
        self.gate.wait(10)
        if self.bug is not None:
            raise self.bug
        if self.gone:
            raise SourceCorruptError("it has gone", subject="source_uri")
        return replace(builders.plan(question.spec.shape.replicas), fits=False, surge=question.surge)

    async def answer(self) -> Event:
        """Wait for the next event."""
        async with asyncio.timeout(10):
            await self.arrived.wait()
        self.arrived.clear()
        return self.events[-1]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """Yield a planner, and end its jobs."""
    made = Bench()
    yield made
    made.gate.set()
    await made.planner.aclose()


def loading(state: State, epoch: int = 0) -> State:
    """Return a state in which ``m/v1#0`` waits for a device."""
    state = builders.run(state, LoadVersion(Request(0.0, "o1"), builders.order(replicas=2)))
    return replace(state, reservation_epoch=epoch)


async def test_room_is_answered_in_the_loops_turn(bench: Bench) -> None:
    """An instance that fits is placed before the call returns, with the epoch that was read, and nothing is planned anew."""
    bench.planner.place(PlaceInstance(KEY, 4), loading(builders.empty_state(), epoch=4))
    assert bench.events == [InstancePlaced(7.0, KEY, on_one_device("host", 128 * builders.MIB), 4)]
    assert bench.planning == []


async def test_a_plan_that_raises_is_told(bench: Bench) -> None:
    """What nobody foresaw in a thread reaches the loop with the effect's key, or else the instance would wait for ever."""
    bench.bug = ValueError("a mistake of ours")
    effect = PlaceInstance(KEY, 4)
    bench.planner.place(effect, loading(builders.empty_state(SMALL), epoch=4))
    async with asyncio.timeout(10):
        while not bench.faults:
            await asyncio.sleep(0.005)
    assert bench.faults == [(effect.key, bench.bug)]
    assert bench.events == []


async def test_a_refusal_is_planned_in_a_thread(bench: Bench) -> None:
    """What would fit is found out beside the loop; the event comes in the loop's thread, with the state's epoch and the one text."""
    state = loading(builders.empty_state(SMALL), epoch=4)
    bench.planner.place(PlaceInstance(KEY, 4), state)
    assert bench.events == []
    event = await bench.answer()
    assert isinstance(event, PlacementRefused)
    assert (event.instance, event.reservation_epoch) == (KEY, 4)
    assert threading.get_ident() not in bench.planning
    assert bench.emitting == {threading.get_ident()}
    plan = event.failure.plan
    assert plan is not None
    assert (plan.fits, plan.replicas, plan.upper_bytes) == (False, 1, 128 * builders.MIB)
    assert event.failure.reason is Reason.MEMORY_INSUFFICIENT
    assert event.failure.message == str(fit_error(plan))
    free = builders.MIB - builders.MIB // 10
    assert f"host has {free} of {128 * builders.MIB} bytes free" in event.failure.message


async def test_a_checkpoint_that_has_gone_is_refused_with_the_old_plan(bench: Bench) -> None:
    """Without the files nobody knows what would fit, and that is all that is missing from the answer."""
    bench.gone = True
    bench.planner.place(PlaceInstance(KEY, 0), loading(builders.empty_state(SMALL)))
    event = await bench.answer()
    assert isinstance(event, PlacementRefused)
    assert event.failure.plan is not None
    assert (event.failure.plan.fits, event.failure.plan.alternatives) == (False, ())


async def test_of_one_instance_the_newest_question_is_answered(bench: Bench) -> None:
    """Asked anew with another epoch while a plan is being made, only the newer answer comes."""
    bench.gate.clear()
    bench.planner.place(PlaceInstance(KEY, 1), loading(builders.empty_state(SMALL), epoch=1))
    while not bench.planning:
        await asyncio.sleep(0.001)
    bench.planner.place(PlaceInstance(KEY, 2), loading(builders.empty_state(SMALL), epoch=2))
    bench.gate.set()
    await bench.answer()
    while bench.planner.open_jobs:
        await asyncio.sleep(0.001)
    assert [event.reservation_epoch for event in bench.events if isinstance(event, PlacementRefused)] == [2]


async def test_closing_gives_up_what_is_open(bench: Bench) -> None:
    """After the end nothing is answered."""
    bench.gate.clear()
    bench.planner.place(PlaceInstance(KEY, 1), loading(builders.empty_state(SMALL)))
    await bench.planner.aclose()
    bench.gate.set()
    assert (bench.events, bench.planner.open_jobs) == ([], 0)


async def test_an_instance_that_has_gone_is_not_answered(bench: Bench) -> None:
    """The state has nobody by that name any more."""
    bench.planner.place(PlaceInstance(KEY, 0), builders.empty_state())
    bench.planner.explain_memory(ExplainMemory(KEY, 1, MemoryUsage("t", 0, 0, 0, 1, 1)), builders.empty_state())
    assert (bench.events, bench.planner.open_jobs) == ([], 0)


async def test_a_reading_is_explained_in_a_thread(bench: Bench, minilm: Path) -> None:
    """Headers are read beside the loop; what the formulas give for the exercised batch comes as an event."""
    order = builders.order()
    order = replace(order, spec=replace(order.spec, source_path=str(minilm)))
    state = builders.run(builders.empty_state(), LoadVersion(Request(0.0, "o1"), order))
    state = builders.run(state, InstancePlaced(0.0, KEY, on_one_device("host", builders.MIB), state.reservation_epoch))
    usage = MemoryUsage("torch 1", 0, 500 * builders.MIB, 90 * builders.MIB, 8, 128)
    bench.planner.explain_memory(ExplainMemory(KEY, 1, usage), state)
    assert bench.events == []
    event = await bench.answer()
    assert isinstance(event, MemorySampled)
    assert (event.key.engine, event.key.engine_version, event.key.device) == (
        "torch",
        "torch 1, UNKNOWN",
        "host memory",
    )
    assert event.sample.subject == "m/v1#0.1"
    assert event.sample.temporary_bytes > 0


async def test_an_engine_whose_size_is_only_declared_teaches_nothing(bench: Bench, minilm: Path) -> None:
    """No formula gives it, so that nothing could be told beyond one."""
    order = builders.order()
    shape = replace(order.spec.shape, engine="command", options=(("memory_bytes", "1000"),))
    order = replace(order, spec=replace(order.spec, source_path=str(minilm), shape=shape))
    state = builders.run(builders.empty_state(), LoadVersion(Request(0.0, "o1"), order))
    state = builders.run(state, InstancePlaced(0.0, KEY, on_one_device("host", builders.MIB), state.reservation_epoch))
    bench.planner.explain_memory(ExplainMemory(KEY, 1, MemoryUsage("b1", 0, builders.MIB, 0, 8, 128)), state)
    while bench.planner.open_jobs:
        await asyncio.sleep(0.001)
    assert bench.events == []


async def test_loop_and_doors_plan_on_one_path(minilm: Path) -> None:
    """The plan in a refusal of the loop is the one that a caller is told, alternatives among it."""
    allocator = Allocator((minilm.parent,))
    spec = replace(builders.order().spec, source_path=str(minilm))
    facts = inspect_checkpoint(minilm).facts
    tight = replace(host_device(2**30), capacity_bytes=120 * builders.MIB, reserve_bytes=0)
    state = State(devices=(tight,))
    told = allocator.plan(PlanQuestion(spec, facts), state)
    assert not told.fits
    assert told.alternatives
    order = replace(builders.order(), spec=spec, facts=facts, plan=told)
    events: list[Event] = []
    done = asyncio.Event()

    def emit(event: Event) -> None:
        events.append(event)
        done.set()

    planner = InstancePlanner(emit, lambda: 0.0, allocator.plan, AdapterFaults(emit, lambda: 0.0).report)
    planner.place(PlaceInstance(KEY, 0), builders.run(state, LoadVersion(Request(0.0, "o1"), order)))
    async with asyncio.timeout(10):
        await done.wait()
    (event,) = events
    assert isinstance(event, PlacementRefused)
    assert event.failure == fit_error(told).failure
