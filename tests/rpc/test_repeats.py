"""Requests that come twice: each is done once, and who repeats one is told how the first ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import grpc
import grpc.aio
import pytest

from echoplane.v1 import models_pb2, rollouts_pb2
from echoplaned.core.commands import Command, ConfigureModel, PromoteRollout
from echoplaned.core.failure import Reason
from echoplaned.core.state import Operation
from echoplaned.rpc.fair_handle import AT_ONCE, FairHandle
from echoplaned.rpc.services import build_services
from echoplaned.testing.handle import FakeHandle
from tests.rpc.reading import metadata
from tests.rpc.world import World, failed

CODE = grpc.StatusCode
QUICK = rollouts_pb2.RolloutPolicy(stages_percent=[20, 50, 100], stage_min_s=0, soak_s=1)


class HeldHandle(FakeHandle):
    """A loop that takes what it is given only while ``open`` is set, and then whoever gave it has gone or not.

    ``given``: how many commands it has had.
    """

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()
        self.open.set()
        self.given = 0
        self._tasks: set[asyncio.Task[Operation | None]] = set()

    async def submit(self, command: Command) -> Operation | None:
        """Take a command; as with the real loop nobody takes it back."""
        self.given += 1
        task = asyncio.create_task(self._later(command))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.wait({task})
        return task.result()

    async def _later(self, command: Command) -> Operation | None:
        await self.open.wait()
        return await super().submit(command)

    def count(self, kind: type[Command]) -> int:
        """Return how many commands of a kind were done or refused."""
        return sum(isinstance(each, kind) for each in self.submitted)

    async def wait_given(self, count: int) -> None:
        """Wait until so many commands are with the loop."""
        async with asyncio.timeout(5):
            while self.given < count:
                await asyncio.sleep(0.005)


class Held(World):
    """A daemon whose loop can be held."""

    handle: HeldHandle

    def __init__(self) -> None:
        super().__init__()
        self.handle = HeldHandle()


@pytest.fixture
async def world() -> AsyncIterator[Held]:
    """Yield a daemon that has a model, and whose commands go the way of the real one's."""
    world = Held()
    services = build_services(replace(world.deps(), handle=FairHandle(world.handle)))
    server = await world.start(services=services)
    await world.load("fp32")
    yield world
    world.handle.open.set()
    await world.stubs.channel.close(None)
    world.lifecycle.begin_stop()
    await server.stop(None)


def configure(request_id: str, **more: Any) -> models_pb2.ConfigureModelRequest:
    """Return a change of a model's labels."""
    request = models_pb2.ConfigureModelRequest(name="models/minilm", request_id=request_id, **more)
    request.update_mask.paths.append("labels")
    return request


async def deadline(call: Any) -> None:
    """Await a call that its deadline ends."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    assert raised.value.code() is CODE.DEADLINE_EXCEEDED


async def test_a_promotion_that_was_cut_off_is_done_once(world: Held) -> None:
    """A deadline passes while the loop has the command: it is done, and the same request again does nothing more."""
    name = metadata(await world.update("int8", policy=QUICK)).rollout
    request = rollouts_pb2.PromoteRolloutRequest(name=name, reason="looked at it", request_id="p1")
    world.handle.open.clear()
    await deadline(world.stubs.rollouts.PromoteRollout(request, timeout=0.1))
    repeat = asyncio.ensure_future(world.stubs.rollouts.PromoteRollout(request))
    await asyncio.sleep(0.05)
    assert not repeat.done(), "nobody knows yet how the first one ends"
    world.handle.open.set()
    assert (await repeat).stage == 2
    assert (await world.stubs.rollouts.PromoteRollout(request)).stage == 2
    assert world.handle.count(PromoteRollout) == 1


async def test_a_repeat_is_refused_as_the_first_is(world: Held) -> None:
    """A repeat that comes while the first is on its way gets the first one's error; later it is made anew."""
    world.handle.open.clear()
    request = configure("c1", etag="wrong", labels={"a": "b"})
    calls = [asyncio.ensure_future(world.stubs.models.ConfigureModel(request)) for _ in range(3)]
    await asyncio.sleep(0.1)
    world.handle.open.set()
    for call in calls:
        await failed(call, Reason.ETAG_MISMATCH, CODE.ABORTED)
    assert world.handle.count(ConfigureModel) == 1
    await failed(world.stubs.models.ConfigureModel(request), Reason.ETAG_MISMATCH, CODE.ABORTED)
    assert world.handle.count(ConfigureModel) == 2


async def test_a_refusal_that_nobody_waited_for_is_forgotten(world: Held) -> None:
    """The first was refused after its caller had gone: the id may be used for the next try."""
    world.handle.open.clear()
    request = configure("c1", etag="wrong", labels={"a": "b"})
    await deadline(world.stubs.models.ConfigureModel(request, timeout=0.1))
    world.handle.open.set()
    await asyncio.sleep(0.05)
    request.etag = ""
    assert (await world.stubs.models.ConfigureModel(request)).labels == {"a": "b"}


async def test_who_goes_before_its_turn_has_done_nothing(world: Held) -> None:
    """A command whose caller has gone before the loop took it is not given; who repeats it, and waits for it already, does it anew."""
    world.handle.open.clear()
    before = world.handle.given
    others = [asyncio.ensure_future(world.stubs.models.ConfigureModel(configure(f"o{i}"))) for i in range(AT_ONCE)]
    await world.handle.wait_given(before + AT_ONCE)
    request = configure("c1", labels={"a": "b"})
    first = asyncio.ensure_future(world.stubs.models.ConfigureModel(request, timeout=0.2))
    await asyncio.sleep(0.1)
    repeats = [asyncio.ensure_future(world.stubs.models.ConfigureModel(request)) for _ in range(2)]
    await deadline(first)
    assert world.handle.given == before + AT_ONCE
    world.handle.open.set()
    for repeat in repeats:
        assert (await repeat).labels == {"a": "b"}
    await asyncio.gather(*others)
    assert world.handle.given == before + AT_ONCE + 1


async def test_an_id_on_its_way_has_one_content(world: Held) -> None:
    """Another body under an id is refused at once, also while the first is not done."""
    world.handle.open.clear()
    first = asyncio.ensure_future(world.stubs.models.ConfigureModel(configure("c1", labels={"a": "b"})))
    await asyncio.sleep(0.05)
    other = world.stubs.models.ConfigureModel(configure("c1", labels={"a": "c"}))
    await failed(other, Reason.REQUEST_ID_REUSED, CODE.INVALID_ARGUMENT)
    world.handle.open.set()
    assert (await first).labels == {"a": "b"}
