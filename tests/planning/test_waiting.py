"""The loop's planner where others hold memory: it waits for a while, shortens a context that is open, and refuses by name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from echoplaned.core.commands import LoadVersion, Request
from echoplaned.core.effects import PlaceInstance
from echoplaned.core.events import DeviceMemoryMeasured, Event, InstancePlaced, PlacementDelayed, PlacementRefused
from echoplaned.core.failure import Reason
from echoplaned.core.ids import InstanceKey
from echoplaned.core.memory import MeasuredMemory, MemoryHolder
from echoplaned.core.placement import on_one_device
from echoplaned.core.plan import Plan
from echoplaned.core.state import State
from echoplaned.planning.instance_planner import InstancePlanner
from echoplaned.ports.planning import PlanQuestion
from echoplaned.testing import builders
from echoplaned.testing.builders import GIB, MIB

KEY = InstanceKey.parse("m/v1#0")
FULL = MeasuredMemory("host", 16 * GIB, 100 * MIB, 0, (MemoryHolder("trainer (pid 7)", 15 * GIB),))


@dataclass
class Asked:
    """A planner with a clock, what it said, and what it asked the allocator."""

    answer: Callable[[PlanQuestion], Plan]
    now_s: float = 0.0
    events: list[Event] = field(default_factory=list)
    questions: list[PlanQuestion] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        """Make the planner."""
        self.planner = InstancePlanner(self.emit, lambda: self.now_s, self.plan, lambda _key, _error: None, 30.0)

    def emit(self, event: Event) -> None:
        """Note an event."""
        self.events.append(event)
        self.arrived.set()

    def plan(self, question: PlanQuestion, state: State) -> Plan:
        """Answer as the test says."""
        del state
        self.questions.append(question)
        return self.answer(question)

    async def place(self, state: State, looks: int = 0, since_s: float | None = None) -> Event:
        """Ask for a place, and return what comes."""
        self.arrived.clear()
        self.planner.place(PlaceInstance(KEY, state.reservation_epoch, looks, since_s), state)
        async with asyncio.timeout(10):
            await self.arrived.wait()
        return self.events[-1]


def unfit(question: PlanQuestion) -> Plan:
    """Answer that nothing fits."""
    return replace(builders.plan(question.spec.shape.replicas), fits=False, surge=question.surge)


def waiting(*measured: MeasuredMemory, context_length: int = 512) -> State:
    """Return a state in which ``m/v1#0`` wants 128 MiB, and devices were measured."""
    order = builders.order(context_length=context_length)
    state = builders.run(builders.empty_state(), LoadVersion(Request(0.0, "o1"), order))
    return builders.run(state, DeviceMemoryMeasured(0.0, measured))


async def test_an_instance_waits_for_what_is_not_free_yet() -> None:
    """There is room by what is reserved: the answer says what is missing and who has it; nothing is read for that."""
    asked = Asked(unfit)
    event = await asked.place(waiting(FULL))
    assert isinstance(event, PlacementDelayed)
    assert f"host has {100 * MIB} of {128 * MIB} bytes measured as free" in event.reason
    assert "trainer (pid 7)" in event.reason
    assert asked.questions == []


async def test_it_is_placed_once_there_is_room() -> None:
    """The next look finds the memory back."""
    asked = Asked(unfit)
    event = await asked.place(waiting(replace(FULL, free_bytes=8 * GIB)), looks=3, since_s=-5.0)
    assert isinstance(event, InstancePlaced)
    assert event.placement == on_one_device("host", 128 * MIB)


async def test_the_wait_is_bounded_and_its_end_names_the_others() -> None:
    """After the longest wait it is refused with the bytes that others hold, device by device, and what would fit."""
    asked = Asked(unfit)
    event = await asked.place(waiting(FULL), looks=60, since_s=-30.0)
    assert isinstance(event, PlacementRefused)
    assert event.failure.reason is Reason.MEMORY_INSUFFICIENT
    assert f"other processes hold {16 * GIB - 100 * MIB} bytes (the largest: trainer (pid 7)" in event.failure.message
    assert event.failure.plan is not None
    (fit,) = event.failure.plan.devices
    assert (fit.free_bytes, fit.foreign_bytes, fit.holders) == (100 * MIB, 16 * GIB - 100 * MIB, FULL.holders)


async def test_what_is_reserved_is_not_waited_for() -> None:
    """No room by the reservations alone: there is nothing that a wait would bring."""
    small = replace(waiting(), devices=(builders.device(capacity_bytes=MIB),))
    assert isinstance(await Asked(unfit).place(small), PlacementRefused)


@pytest.mark.parametrize("replicas", [1, 3])
async def test_an_open_context_gets_shorter(replicas: int) -> None:
    """Before the first reservation a shorter context may be chosen, for all replicas at once."""

    def shorter(question: PlanQuestion) -> Plan:
        assert (question.spec.shape.context_length, question.least_context) == (0, 0)
        assert question.spec.shape.replicas == replicas
        return replace(builders.plan(replicas, 64 * MIB), context_length=256)

    order = builders.order(context_length=0, replicas=replicas)
    state = builders.run(builders.empty_state(), LoadVersion(Request(0.0, "o1"), order))
    state = builders.run(state, DeviceMemoryMeasured(0.0, (FULL,)))
    event = await Asked(shorter).place(state, looks=60, since_s=-30.0)
    assert isinstance(event, InstancePlaced)
    assert event.placement == on_one_device("host", 64 * MIB)
    assert event.plan is not None
    assert event.plan.context_length == 256


async def test_a_chosen_context_is_not_chosen_again() -> None:
    """A version that had its first reservation asks for its own context, and gets that or nothing."""
    state = waiting(FULL, context_length=0)
    version = replace(state.models["m"].versions["v1"], context_length=300)
    state = replace(state, models={"m": replace(state.models["m"], versions={"v1": version})})
    asked = Asked(lambda _question: builders.plan(1, MIB))
    event = await asked.place(state, looks=60, since_s=-30.0)
    assert isinstance(event, PlacementRefused)
    assert asked.questions[0].spec.shape.context_length == 300


async def test_looks_do_not_disturb_a_refusal_that_is_worked_on() -> None:
    """While a checkpoint is read for the refusal, further looks of the same reservations start nothing."""
    asked = Asked(unfit)
    state = waiting(FULL)
    for looks in range(60, 64):
        asked.planner.place(PlaceInstance(KEY, state.reservation_epoch, looks, -30.0), state)
    async with asyncio.timeout(10):
        await asked.arrived.wait()
    await asyncio.sleep(0)
    assert len(asked.questions) == len(asked.events) == 1
    # Answered, the same question is worked on again.
    assert isinstance(await asked.place(state, looks=70, since_s=-30.0), PlacementRefused)
    assert len(asked.questions) == 2
