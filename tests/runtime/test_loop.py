"""The loop: persist before acting; what happens when the store cannot be written."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from echoplaned.core import commands as cmd
from echoplaned.core import effects as fx
from echoplaned.core import engine_events as eng
from echoplaned.core import events as ev
from echoplaned.core.errors import ModelNotFoundError, StoreUnavailableError
from echoplaned.core.ids import InstanceKey
from echoplaned.core.placement import on_one_device
from echoplaned.core.rollout_state import GateVerdict, Phase, Verdict
from echoplaned.core.state import OperationKind, State
from echoplaned.runtime.announces import AnnounceLog
from echoplaned.runtime.dispatch import Dispatcher
from echoplaned.runtime.loop import Loop
from echoplaned.testing import builders

V1, V2 = InstanceKey.parse("m/v1#0"), InstanceKey.parse("m/v2#0")


@dataclass
class Disk:
    """A store in memory that can be made to fail, and says what was committed before which effect."""

    broken: bool = False
    fault: BaseException | None = None
    gone: bool = False
    epochs: list[int] = field(default_factory=list)
    stored: State = field(default_factory=builders.empty_state)

    def load(self) -> State:
        """Return what was committed last."""
        return self.stored

    def commit(self, before: State, after: State, announces: tuple[fx.Announce, ...]) -> None:
        """Commit, unless broken."""
        del announces
        if self.fault is not None:
            raise self.fault
        if self.broken:
            raise StoreUnavailableError("disk full")
        assert before.store_epoch == self.stored.store_epoch
        self.epochs.append(after.store_epoch)
        self.stored = after

    def check(self) -> None:
        """Say that the files have gone, where they have."""
        if self.gone:
            raise StoreUnavailableError("it has gone")


@dataclass
class Recorder:
    """Every adapter at once: writes down what it is asked, answers nothing."""

    done: list[fx.Effect] = field(default_factory=list)
    undrained: list[InstanceKey] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    def place(self, effect: fx.PlaceInstance, state: State) -> None:
        """Record."""
        del state
        self.done.append(effect)

    def explain_memory(self, effect: fx.ExplainMemory, state: State) -> None:
        """Record."""
        del state
        self.done.append(effect)

    def start(self, effect: fx.StartEngine) -> None:
        """Record."""
        self.done.append(effect)

    def probe(self, effect: fx.ProbeEngine) -> None:
        """Record."""
        self.done.append(effect)

    def drain(self, effect: fx.DrainEngine) -> None:
        """Record."""
        self.done.append(effect)

    def undrain(self, instance: InstanceKey, generation: int) -> None:
        """Record."""
        del generation
        self.undrained.append(instance)

    def stop(self, effect: fx.StopEngine) -> None:
        """Record."""
        self.done.append(effect)

    async def adopt(self) -> tuple[ev.FoundEngine, ...]:
        """Find nothing."""
        return ()

    async def sweep(self, owned: frozenset[tuple[InstanceKey, int]]) -> int:
        """Kill nothing."""
        return len(owned) - len(owned)

    def publish(self, effect: fx.PublishRoutes) -> None:
        """Record."""
        self.done.append(effect)

    def open(self) -> None:
        """Record nothing."""

    def remove(self, what: object) -> None:
        """Record nothing."""

    def end(self, rollout_id: str) -> None:
        """Record."""
        self.ended.append(rollout_id)

    def evaluate(self, effect: fx.EvaluateGates, state: State) -> None:
        """Record."""
        del state
        self.done.append(effect)

    def on_announced(self, announce: fx.Announce) -> None:
        """Record."""
        self.done.append(announce)

    def on_changed(self, before: State, after: State) -> None:
        """Nothing to record."""

    def on_finished(self, effect: fx.FinishOperation, state: State) -> None:
        """Record."""
        del state
        self.done.append(effect)

    def published(self) -> list[fx.PublishRoutes]:
        """Return the routes that went out, in order."""
        return [effect for effect in self.done if isinstance(effect, fx.PublishRoutes)]


@dataclass
class House:
    """A running loop with its store and adapters."""

    loop: Loop
    disk: Disk
    adapters: Recorder

    async def emit(self, *happened: ev.Event) -> None:
        """Send adapters' events and wait until they are applied."""
        before = self.loop.event_count
        for event in happened:
            self.loop.emit(event)
        while self.loop.event_count < before + len(happened):
            await asyncio.sleep(0.001)

    async def serve(self) -> None:
        """Load m/v1 and bring it up."""
        await self.loop.submit(cmd.LoadVersion(cmd.Request(0.0, "op1"), builders.order("m", "v1")))
        await self.emit(*self._up(V1), self.acknowledged())

    async def update(self) -> None:
        """Update m to v2 until its first stage is observed."""
        update = cmd.UpdateModel(cmd.Request(0.0, "op2"), builders.order("m", "v2"), "r1", builders.policy())
        await self.loop.submit(update)
        await self.emit(*self._up(V2))
        for _ in range(2):
            await self.emit(self.acknowledged())

    def _up(self, key: InstanceKey) -> tuple[ev.Event, ...]:
        epoch = self.loop.state.reservation_epoch
        return (
            ev.InstancePlaced(0.0, key, on_one_device("host", builders.MIB), epoch),
            eng.EngineReady(0.0, key, 1, builders.endpoints(f"127.0.0.1:{7000 + len(key.version.version)}"), "w1"),
            eng.ProbesPassed(0.0, key, 1),
        )

    def acknowledged(self) -> ev.RoutesProgressed:
        """Everybody has the newest routes."""
        routes = self.loop.state.models["m"].routes
        return ev.RoutesProgressed(0.0, "m", routes.epoch if routes else 0, True, 1, 1)

    def failed(self) -> ev.GatesJudged:
        """The error gate says FAIL."""
        rollout = self.loop.state.models["m"].rollout
        assert rollout is not None
        verdicts = (Verdict("errors", GateVerdict.FAIL, "too many errors"),)
        return ev.GatesJudged(0.0, "m", "r1", rollout.stage, rollout.evidence_window, verdicts)


@contextlib.asynccontextmanager
async def open_house() -> AsyncIterator[tuple[House, asyncio.Task[None]]]:
    """Run a loop over a store and adapters in memory; yield both, and the task that it runs in."""
    disk, adapters = Disk(), Recorder()
    ids = iter(f"id{n}" for n in range(1000))
    loop = Loop(disk.load(), disk, AnnounceLog(lambda _after, _limit: ()), lambda: 0.0, lambda: next(ids))
    loop.connect(Dispatcher(adapters, adapters, adapters, adapters, adapters))
    running = asyncio.create_task(loop.run(tick_s=3600.0))
    yield House(loop, disk, adapters), running
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await loop.close()


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """Return a running loop over a store and adapters in memory."""
    async with open_house() as (opened, _):
        yield opened


async def test_caller_gets_its_operation(house: House) -> None:
    """A command is answered with the operation that it started, after the commit."""
    operation = await house.loop.submit(cmd.LoadVersion(cmd.Request(0.0, "op1"), builders.order("m", "v1")))
    assert operation is not None
    assert (operation.operation_id, operation.kind) == ("op1", OperationKind.LOAD)
    assert house.disk.stored.operations["op1"] == operation


async def test_refused_caller_changes_nothing(house: House) -> None:
    """A refused event raises at the caller and leaves state and store as they were."""
    before = house.loop.state
    with pytest.raises(ModelNotFoundError):
        await house.loop.submit(cmd.DeleteModel(cmd.Request(0.0, "op1"), "nobody"))
    assert house.loop.state is before
    assert house.disk.epochs == []


async def test_store_failure_refuses_callers(house: House) -> None:
    """With a broken store a caller gets STORE_UNAVAILABLE, nothing changes, and the same call works later."""
    house.disk.broken = True
    before = house.loop.state
    load = cmd.LoadVersion(cmd.Request(0.0, "op1"), builders.order("m", "v1"))
    with pytest.raises(StoreUnavailableError):
        await house.loop.submit(load)
    assert house.loop.state is before
    assert house.adapters.done == []
    house.disk.broken = False
    assert await house.loop.submit(load) is not None


async def test_store_failure_never_keeps_traffic_on_a_failing_version(house: House) -> None:
    """A FAIL with a broken store still moves the weight at once; drains and stops wait until the store is back."""
    await house.serve()
    await house.update()
    house.disk.broken = True
    await house.emit(house.failed())
    newest = house.adapters.published()[-1]
    weights = {c.version: c.weight_ppm for c in newest.routes.clusters}
    assert weights == {"v1": 999_999, "v2": 1}
    assert house.loop.state.models["m"].rollout is not None
    assert house.loop.state.models["m"].rollout.phase is Phase.REVERTING
    stored = house.disk.stored.models["m"].rollout
    assert stored is not None
    assert stored.phase is Phase.OBSERVING
    for _ in range(2):
        await house.emit(house.acknowledged())
    assert not any(isinstance(effect, fx.DrainEngine) for effect in house.adapters.done)
    house.disk.broken = False
    await house.emit(ev.Tick(0.0))
    assert any(isinstance(effect, fx.DrainEngine) for effect in house.adapters.done)
    stored = house.disk.stored.models["m"].rollout
    assert stored is not None
    assert stored.phase is Phase.CLEANING


async def test_store_failure_holds_back_promotion(house: House) -> None:
    """A PASS with a broken store gives the new version no more traffic until it is written."""
    await house.serve()
    await house.update()
    house.disk.broken = True
    count = len(house.adapters.published())
    rollout = house.loop.state.models["m"].rollout
    assert rollout is not None
    verdicts = (Verdict("errors", GateVerdict.PASS, "no errors"),)
    await house.emit(ev.GatesJudged(0.0, "m", "r1", rollout.stage, rollout.evidence_window, verdicts))
    assert len(house.adapters.published()) == count
    house.disk.broken = False
    await house.emit(ev.Tick(0.0))
    assert len(house.adapters.published()) == count + 1


async def test_a_rollout_that_ends_with_its_model_is_ended(house: House) -> None:
    """Its evidence is not kept for a model that is gone: the gates are told as they are of any other end."""
    await house.serve()
    await house.update()
    await house.loop.submit(cmd.DeleteModel(cmd.Request(0.0, "op3"), "m", force=True))
    await house.emit(house.acknowledged())
    assert house.adapters.ended == []
    for key in (V1, V2):
        await house.emit(eng.EngineDrained(0.0, key, 1), eng.EngineStopped(0.0, key, 1))
    assert house.loop.state.models == {}
    assert house.adapters.ended == ["r1"]


async def test_routes_that_are_stored_already_go_out_at_a_start() -> None:
    """A daemon that starts on a full disk serves the routes that it finds, though its first event cannot be written."""
    disk, adapters = Disk(), Recorder()
    first = Loop(disk.load(), disk, AnnounceLog(lambda _after, _limit: ()), lambda: 0.0, lambda: "id")
    first.connect(Dispatcher(adapters, adapters, adapters, adapters, adapters))
    running = asyncio.create_task(first.run(tick_s=3600.0))
    house = House(first, disk, adapters)
    await house.serve()
    await house.update()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await first.close()
    disk.broken, after = True, Recorder()
    loop = Loop(disk.load(), disk, AnnounceLog(lambda _after, _limit: ()), lambda: 0.0, lambda: "id")
    loop.connect(Dispatcher(after, after, after, after, after))
    found = tuple(ev.FoundEngine(key, 1, builders.endpoints("127.0.0.1:7002"), "w1") for key in (V1, V2))
    await loop.handle(ev.Recovered(0.0, found))
    assert not loop.store_writable
    (published,) = after.published()
    assert published.routes == adapters.published()[-1].routes
    assert after.done == [published], "everything else waits"
    await loop.close()


async def test_wait_until_and_follow(house: House) -> None:
    """A waiter wakes with the state it asked for; a follower sees every announcement once, in order."""
    seen: list[int] = []

    async def follow() -> None:
        async for announce in house.loop.follow(0):
            seen.append(announce.sequence)  # noqa: PERF401 - it never ends; what came so far is what counts

    following = asyncio.create_task(follow())
    waiting = asyncio.create_task(house.loop.wait_until(lambda state: "m" in state.models, 5.0))
    await house.serve()
    assert "m" in (await waiting).models
    await asyncio.sleep(0.05)
    following.cancel()
    assert seen == list(range(1, house.loop.state.announce_sequence + 1))


async def test_wait_until_times_out(house: House) -> None:
    """A condition that does not come raises TimeoutError."""
    with pytest.raises(TimeoutError):
        await house.loop.wait_until(lambda state: "nobody" in state.models, 0.01)


class Panic(BaseException):
    """Stands for a panic in Rust, which is no Exception."""


@pytest.mark.parametrize("fault", [TypeError("no"), RecursionError(), Panic("full"), SystemExit(1), StopIteration()])
async def test_a_store_that_raises_anything_is_an_unavailable_one(house: House, fault: BaseException) -> None:
    """Callers are refused and observed facts kept, with an alarm; once it works again, all that was missed is written."""
    await house.serve()
    house.disk.fault = fault
    before = house.loop.state
    with pytest.raises(StoreUnavailableError, match=type(fault).__name__):
        await house.loop.submit(cmd.LoadVersion(cmd.Request(0.0, "op2"), builders.order("n", "v1")))
    assert house.loop.state is before
    await house.emit(eng.EngineLost(0.0, V1, 1, "killed"))
    assert house.loop.state is not before
    assert not house.loop.store_writable
    (alarm,) = house.loop.alarms
    assert type(fault).__name__ in alarm
    assert house.loop.faults.counts["store"] == 2
    house.disk.fault = None
    await house.emit(ev.Tick(0.0))
    assert house.loop.store_writable
    assert house.loop.alarms == ()
    assert house.disk.stored.models["m"] == house.loop.state.models["m"]


async def test_a_disk_that_has_gone_is_seen_at_a_tick() -> None:
    """Nobody writes, and still it is said within a tick; once it is back, so is the store, though a call was refused meanwhile."""
    disk, adapters = Disk(gone=True), Recorder()
    loop = Loop(disk.load(), disk, AnnounceLog(lambda _after, _limit: ()), lambda: 0.0, lambda: "id")
    loop.connect(Dispatcher(adapters, adapters, adapters, adapters, adapters))
    assert loop.store_writable
    running = asyncio.create_task(loop.run(tick_s=0.01))
    async with asyncio.timeout(5.0):
        while loop.store_writable:
            await asyncio.sleep(0.005)
        assert "it has gone" in loop.alarms[0]
        disk.broken = True
        with pytest.raises(StoreUnavailableError):
            await loop.submit(cmd.LoadVersion(cmd.Request(0.0, "op1"), builders.order("m", "v1")))
        disk.gone = disk.broken = False
        while not loop.store_writable:
            await asyncio.sleep(0.005)
    assert loop.alarms == ()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await loop.close()
