"""Turns of one connection at a worker."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from echoplaned.worker_contract.inference.connection_turns import ConnectionTurns, TurnLimits
from echoplaned.worker_contract.inference.errors import Blame, OverloadedError

SMALL = TurnLimits(under_way=2, waiting=3, waiting_bytes=100)


class Calls:
    """Calls that stay under way until they are told to end."""

    def __init__(self, turns: ConnectionTurns) -> None:
        self.turns = turns
        self.began: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._ends: dict[str, asyncio.Event] = {}

    async def start(self, name: str, peer: str = "a", size_bytes: int = 1) -> None:
        """Begin a call."""
        self._ends[name] = asyncio.Event()
        self.tasks[name] = asyncio.ensure_future(self._run(name, peer, size_bytes))
        await asyncio.sleep(0)

    async def end(self, name: str) -> None:
        """End a call that has its turn, and let the next begin."""
        self._ends[name].set()
        await self.tasks[name]
        await asyncio.sleep(0)

    async def _run(self, name: str, peer: str, size_bytes: int) -> None:
        async with self.turns.acquire(peer, lambda: size_bytes):
            self.began.append(name)
            await self._ends[name].wait()


async def test_calls_begin_in_order() -> None:
    """What came first has its turn first, and no more are under way than may be."""
    calls = Calls(ConnectionTurns(SMALL))
    for name in ("first", "second", "third", "fourth"):
        await calls.start(name)
    assert calls.began == ["first", "second"]
    await calls.end("second")
    assert calls.began == ["first", "second", "third"]
    for name in ("first", "third", "fourth"):
        await calls.end(name)
    assert calls.began == ["first", "second", "third", "fourth"]
    assert len(calls.turns) == 0


async def test_another_connection_does_not_wait() -> None:
    """One connection's calls wait for that connection alone."""
    calls = Calls(ConnectionTurns(SMALL))
    for name in ("one", "two", "three"):
        await calls.start(name)
    await calls.start("neighbour", peer="b")
    assert calls.began == ["one", "two", "neighbour"]
    assert len(calls.turns) == 2
    for name in ("neighbour", "one", "two", "three"):
        await calls.end(name)
    assert len(calls.turns) == 0


async def test_too_many_that_wait_are_refused() -> None:
    """Beyond the places for waiting a call is refused as overload, and those that wait keep their places."""
    calls = Calls(ConnectionTurns(SMALL))
    for name in "abcde":
        await calls.start(name)
    with pytest.raises(OverloadedError, match="3 calls of this connection wait already") as refused:
        async with calls.turns.acquire("a", lambda: 1):
            pass
    assert refused.value.blame is Blame.LOAD
    for name in "abcde":
        await calls.end(name)
    assert calls.began == list("abcde")
    assert len(calls.turns) == 0


async def test_too_many_bytes_that_wait_are_refused() -> None:
    """What waits is bounded in bytes; a large request that need not wait is not."""
    calls = Calls(ConnectionTurns(SMALL))
    await calls.start("large", size_bytes=1000)
    await calls.start("larger", size_bytes=2000)
    await calls.start("waits", size_bytes=60)
    with pytest.raises(OverloadedError, match="requests of 60 bytes"):
        async with calls.turns.acquire("a", lambda: 41):
            pass
    await calls.start("fits", size_bytes=40)
    for name in ("large", "larger", "waits", "fits"):
        await calls.end(name)


async def test_a_cancelled_call_gives_its_place_back() -> None:
    """A call that is cancelled while it waits, or while it has its turn, is no longer in anybody's way."""
    calls = Calls(ConnectionTurns(SMALL))
    for name in ("one", "two", "waits", "next"):
        await calls.start(name)
    for name in ("waits", "one"):
        calls.tasks[name].cancel()
        with pytest.raises(asyncio.CancelledError):
            await calls.tasks[name]
    await asyncio.sleep(0)
    assert calls.began == ["one", "two", "next"]
    async with AsyncExitStack() as stack:
        for name in ("two", "next"):
            await calls.end(name)
        for _ in range(SMALL.under_way):
            await stack.enter_async_context(calls.turns.acquire("a", lambda: 1))
    assert len(calls.turns) == 0
