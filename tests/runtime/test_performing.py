"""Adapters that raise: the caller is answered, the loop lives, the effect is tried again, and the log says it once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs

from echoplaned.core import effects as fx
from echoplaned.core import engine_events as eng
from echoplaned.core import events as ev
from echoplaned.core.commands import LoadVersion, Request
from echoplaned.core.failure import Reason
from echoplaned.core.ids import InstanceKey
from echoplaned.core.placement import on_one_device
from echoplaned.core.state import State
from echoplaned.runtime.announces import AnnounceLog
from echoplaned.runtime.dispatch import Dispatcher
from echoplaned.runtime.faults import MAX_DETAIL, AdapterFaults, contain, describe, run_contained
from echoplaned.runtime.loop import Loop
from echoplaned.testing import builders

KEY = InstanceKey.parse("m/v1#0")


class Panic(BaseException):
    """Stands for a panic in Rust, which is no Exception."""


class SpeechlessError(Exception):
    """An error that cannot say what it is."""

    def __str__(self) -> str:
        raise ValueError("no words")


@dataclass
class Memory:
    """A store that keeps the last state."""

    stored: State = field(default_factory=builders.empty_state)

    def load(self) -> State:
        """Return it."""
        return self.stored

    def commit(self, before: State, after: State, announces: tuple[fx.Announce, ...]) -> None:
        """Keep it."""
        assert before.store_epoch == self.stored.store_epoch
        assert len(announces) >= 0
        self.stored = after

    def check(self) -> None:
        """Find nothing."""


@dataclass
class Adapters:
    """Every adapter at once. ``poison``: what the verb of that name raises."""

    poison: dict[str, BaseException] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def _do(self, verb: str) -> None:
        self.asked.append(verb)
        if verb in self.poison:
            raise self.poison[verb]

    def place(self, effect: fx.PlaceInstance, state: State) -> None:
        """Plan."""
        assert effect.instance.version.model in state.models
        self._do("place")

    def explain_memory(self, effect: fx.ExplainMemory, state: State) -> None:
        """Explain."""
        assert effect.instance.version.model in state.models
        self._do("explain")

    def start(self, effect: fx.StartEngine) -> None:
        """Start."""
        assert effect.placement
        self._do("start")

    def probe(self, effect: fx.ProbeEngine) -> None:
        """Probe."""
        assert effect.endpoints
        self._do("probe")

    def drain(self, effect: fx.DrainEngine) -> None:
        """Drain."""
        assert effect.deadline_s
        self._do("drain")

    def undrain(self, instance: InstanceKey, generation: int) -> None:
        """Undrain."""
        assert instance.ordinal < generation
        self._do("undrain")

    def stop(self, effect: fx.StopEngine) -> None:
        """Stop."""
        assert effect.generation
        self._do("stop")

    async def adopt(self) -> tuple[ev.FoundEngine, ...]:
        """Find nothing."""
        return ()

    async def sweep(self, owned: frozenset[tuple[InstanceKey, int]]) -> int:
        """Kill nothing."""
        assert owned is not None
        return 0

    def publish(self, effect: fx.PublishRoutes) -> None:
        """Publish."""
        assert effect.routes.model == effect.model
        self._do("publish")

    def open(self) -> None:
        """Let nobody in."""

    def remove(self, what: object) -> None:
        """Forget a model's routes."""
        assert what
        self._do("forget")

    def end(self, rollout_id: str) -> None:
        """End a rollout's judgement."""
        assert rollout_id
        self._do("end")

    def evaluate(self, effect: fx.EvaluateGates, state: State) -> None:
        """Judge."""
        assert effect.rollout.model in state.models
        self._do("gates")

    def on_announced(self, announce: fx.Announce) -> None:
        """Hear an announcement."""
        assert announce.text
        self._do("announced")

    def on_changed(self, before: State, after: State) -> None:
        """See a new state."""
        assert before is not after
        self._do("changed")

    def on_finished(self, effect: fx.FinishOperation, state: State) -> None:
        """Hear of an operation's end."""
        assert effect.operation.operation_id in state.operations
        self._do("finished")


@dataclass
class House:
    """A running loop over adapters that may raise, with a clock that a test moves."""

    adapters: Adapters
    now_s: float = 100.0
    store: Memory = field(default_factory=Memory)

    def __post_init__(self) -> None:
        ids = iter(f"id{n}" for n in range(1000))
        announces = AnnounceLog(lambda _after, _limit: ())
        self.loop = Loop(self.store.load(), self.store, announces, lambda: self.now_s, lambda: next(ids))
        self.loop.connect(Dispatcher(self.adapters, self.adapters, self.adapters, self.adapters, self.adapters))

    async def emit(self, *happened: ev.Event) -> None:
        """Send events, and wait until they and what they led to are applied."""
        for event in happened:
            self.loop.emit(event)
        await self.settle()

    async def settle(self) -> None:
        """Wait until nothing is left to be applied."""
        count = -1
        while count != self.loop.event_count or not self.loop.is_idle:
            count = self.loop.event_count
            await asyncio.sleep(0.01)

    async def later(self, seconds: float) -> None:
        """Let time go on, then tick."""
        self.now_s += seconds
        await self.emit(ev.Tick(self.now_s))

    async def load(self) -> None:
        """Ask for m/v1."""
        operation = await self.loop.submit(LoadVersion(Request(self.now_s, "op1"), builders.order("m", "v1")))
        assert operation is not None
        await self.settle()

    async def serve(self) -> None:
        """Load m/v1 and bring it up to READY."""
        await self.load()
        ledger = self.loop.state.reservation_epoch
        await self.emit(ev.InstancePlaced(self.now_s, KEY, on_one_device("host", builders.MIB), ledger))
        await self.emit(eng.EngineReady(self.now_s, KEY, 1, builders.endpoints("127.0.0.1:7000"), "w1"))
        await self.emit(eng.ProbesPassed(self.now_s, KEY, 1))


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """Return a running loop."""
    made = House(Adapters())
    running = asyncio.create_task(made.loop.run(tick_s=3600.0))
    yield made
    assert not running.done(), "nothing that an adapter raises ends the loop"
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await made.loop.close()


@pytest.mark.parametrize("error", [ValueError("no"), Panic("index out of bounds"), SystemExit(1), SpeechlessError()])
async def test_a_planner_that_raises(house: House, error: BaseException) -> None:
    """The caller has its operation; the plan is tried again after 1, 5 and 30 s, then the load ends with ADAPTER_FAILED."""
    house.adapters.poison["place"] = error
    await house.load()
    assert house.adapters.asked.count("place") == 1
    for tries, wait_s in enumerate((1.0, 5.0, 30.0), start=2):
        await house.later(wait_s - 0.5)
        assert house.adapters.asked.count("place") == tries - 1
        await house.later(0.5)
        assert house.adapters.asked.count("place") == tries
    failure = house.loop.state.operations["op1"].failure
    assert failure is not None
    assert failure.reason is Reason.ADAPTER_FAILED
    assert "planner" in failure.message
    assert type(error).__name__ in failure.message


@pytest.mark.parametrize("verb", ["place", "start", "probe", "publish"])
async def test_a_second_try_that_works(house: House, verb: str) -> None:
    """What raised once is asked again after a second, and no fault is left once it answered."""
    house.adapters.poison[verb] = Panic("once")
    await house.serve()
    assert house.loop.state.models["m"].faults or verb != "publish"
    house.adapters.poison.clear()
    asked = house.adapters.asked.count(verb)
    await house.later(1.0)
    assert house.adapters.asked.count(verb) == (asked + 1 if verb == "publish" else asked)
    routes = house.loop.state.models["m"].routes
    assert routes is not None
    await house.emit(ev.RoutesProgressed(house.now_s, "m", routes.epoch, True, 1, 1))
    assert house.loop.state.models["m"].faults == ()


@pytest.mark.parametrize("verb", ["changed", "announced", "finished"])
async def test_an_observer_that_raises(house: House, verb: str) -> None:
    """Metrics and log are only told; what they raise is in the log once, and changes nothing."""
    house.adapters.poison[verb] = Panic("full disk")
    with capture_logs() as logs:
        await house.serve()
        await house.later(1.0)
    assert verb in house.adapters.asked
    assert house.loop.state.operations["op1"].failure is None
    assert house.loop.state.models["m"].faults == ()
    told = [line for line in logs if line["event"] == "adapter.failed"]
    assert [line["adapter"] for line in told] == ["forgetting" if verb == "finished" else "observer"]


async def test_it_is_logged_once(house: House) -> None:
    """The same fault again is counted, not logged."""
    house.adapters.poison["place"] = ValueError("no")
    with capture_logs() as logs:
        await house.load()
        for wait_s in (1.0, 5.0, 30.0):
            await house.later(wait_s)
    told = [line for line in logs if line["event"] == "adapter.failed"]
    assert [(line["adapter"], line["subject"]) for line in told] == [("planner", ["place", "m/v1#0"])]
    assert house.loop.faults.counts == {"planner": 4}


async def test_a_start_tries_once_more(house: House) -> None:
    """Faults are not stored: a daemon that starts with the state of one that gave up asks again at once."""
    house.adapters.poison["place"] = ValueError("no")
    await house.load()
    for wait_s in (1.0, 5.0, 30.0):
        await house.later(wait_s)
    assert house.store.stored.models["m"].versions["v1"].failure is not None
    next_one = House(Adapters({"place": Panic("still")}), house.now_s, house.store)
    await next_one.loop.handle(ev.Recovered(next_one.now_s))
    assert next_one.adapters.asked.count("place") == 1
    running = asyncio.create_task(next_one.loop.run(tick_s=3600.0))
    await next_one.settle()
    assert [fault.count for fault in next_one.loop.state.models["m"].faults] == [1]
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await next_one.loop.close()


async def test_a_job_that_raises_is_told() -> None:
    """A job's error reaches the loop as an event of its effect; a cancellation stays one."""
    told: list[ev.Event] = []
    faults = AdapterFaults(told.append, lambda: 7.0)

    async def job(error: BaseException) -> None:
        raise error

    key = ("start", "m/v1#0", 3)
    await run_contained(lambda: job(SystemExit(2)), lambda error: faults.report(key, error))
    assert told == [ev.AdapterFailed(7.0, key, "engines", "SystemExit: 2")]
    with pytest.raises(asyncio.CancelledError):
        await run_contained(lambda: job(asyncio.CancelledError()), lambda error: faults.report(key, error))
    assert len(told) == 1


def test_a_person_may_always_end_it() -> None:
    """Ctrl-C is no fault of an adapter."""
    with pytest.raises(KeyboardInterrupt), contain(lambda _error: None):
        raise KeyboardInterrupt


def test_details_are_short_and_never_fail() -> None:
    """A long text is cut, several lines become one, an error without words is told by its type."""
    assert describe(ValueError("a\n  b")) == "ValueError: a b"
    assert len(describe(ValueError("x" * 1000))) == MAX_DETAIL
    assert describe(SpeechlessError()) == "SpeechlessError"
