"""Blocking calls of doors: few at once, the smallest first, and a place is free when its thread is."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from echoplaned.core.errors import LimitExceededError, SourceCorruptError
from echoplaned.rpc.blocking import BlockingCalls
from echoplaned.rpc.peer import set_peer


class Work:
    """Calls that block until they are let go, in the order in which they began."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.gates: dict[str, threading.Event] = {}
        self.given_up: list[str] = []

    def call(self, name: str) -> Callable[[], str]:
        """Return a call that blocks."""
        self.gates[name] = threading.Event()
        return partial(self._run, name)

    def _run(self, name: str) -> str:
        self.began.append(name)
        assert self.gates[name].wait(10.0)
        return name

    def detach(self, *names: str) -> None:
        """End calls."""
        for name in names:
            self.gates[name].set()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what threads do."""
    async with asyncio.timeout(10.0):
        while not condition():
            await asyncio.sleep(0.002)


async def start(call: Awaitable[str]) -> asyncio.Task[str]:
    """Begin to wait for a call, and let it come to its first stop."""
    task = asyncio.ensure_future(call)
    await asyncio.sleep(0)
    assert isinstance(task, asyncio.Task)
    return task


async def test_the_smallest_goes_first() -> None:
    """Of those that wait the one with least to do is next, and of equals the one that came first."""
    work, calls = Work(), BlockingCalls("digests", 1, 8)
    tasks = [await start(calls.run(work.call("first"), size=100))]
    for name, size in (("large", 50), ("small", 1), ("also small", 1)):
        tasks.append(await start(calls.run(work.call(name), size=size)))
    work.detach("first", "large", "small", "also small")
    assert await asyncio.gather(*tasks) == ["first", "large", "small", "also small"]
    assert work.began == ["first", "small", "also small", "large"]


async def test_a_place_is_free_when_its_thread_is() -> None:
    """A caller that gives up is told to its call; until that ends nobody takes its place."""
    work, calls = Work(), BlockingCalls("digests", 1, 8)
    first = await start(calls.run(work.call("first"), give_up=lambda: work.given_up.append("first")))
    await until(lambda: work.began == ["first"])
    second = await start(calls.run(work.call("second")))
    first.cancel()
    await asyncio.sleep(0.05)
    assert first.cancelled()
    assert (work.began, work.given_up) == (["first"], ["first"])
    work.detach("first", "second")
    assert await second == "second"


async def test_who_gives_up_in_the_queue_leaves_it() -> None:
    """It never runs, and those behind it do."""
    work, calls = Work(), BlockingCalls("digests", 1, 8)
    first = await start(calls.run(work.call("first")))
    gone, last = await start(calls.run(work.call("gone"))), await start(calls.run(work.call("last")))
    gone.cancel()
    work.detach("first", "last")
    assert await asyncio.gather(first, last) == ["first", "last"]
    assert work.began == ["first", "last"]
    assert await calls.run(lambda: "free again") == "free again"


async def test_too_many_are_refused() -> None:
    """The queue has an end, and says when to come again."""
    work, calls = Work(), BlockingCalls("digests", 1, 1)
    tasks = [await start(calls.run(work.call("first"))), await start(calls.run(work.call("second")))]
    with pytest.raises(LimitExceededError) as caught:
        await calls.run(work.call("third"))
    assert caught.value.failure.retry_delay_s == 5.0
    work.detach("first", "second")
    await asyncio.gather(*tasks)


async def test_a_connection_has_its_share_of_the_queue() -> None:
    """One that has filled it leaves a place for another's call."""
    work, calls = Work(), BlockingCalls("digests", 1, 32)

    async def by(peer: str, name: str) -> str:
        set_peer(peer)
        return await calls.run(work.call(name))

    names = [f"g{number}" for number in range(17)]
    tasks = [await start(by("greedy", name)) for name in names]
    with pytest.raises(LimitExceededError, match="one may hold 16"):
        await by("greedy", "more")
    tasks.append(await start(by("other", "small")))
    work.detach(*names, "small")
    assert await asyncio.gather(*tasks) == [*names, "small"]


async def test_what_a_call_raises_reaches_its_caller() -> None:
    """And frees the place."""
    calls = BlockingCalls("digests", 1, 1)

    def fail() -> str:
        raise SourceCorruptError("damaged")

    for _ in range(3):
        with pytest.raises(SourceCorruptError):
            await calls.run(fail)
