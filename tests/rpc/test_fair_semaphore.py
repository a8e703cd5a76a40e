"""Turns at something that few calls may do at once."""

from __future__ import annotations

import asyncio

import pytest

from echoplaned.core.budgets import Budget
from echoplaned.core.errors import LimitExceededError
from echoplaned.rpc.fair_semaphore import FairSemaphore


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_connections_take_turns() -> None:
    """Beside one with a hundred calls waiting, another's first call is the second that gets a turn."""
    turns, order = FairSemaphore(1, Budget("calls", 400)), list[str]()
    begin = asyncio.Event()

    async def call(peer: str) -> None:
        async with turns.acquire(peer):
            await begin.wait()
            order.append(peer)

    tasks = [asyncio.create_task(call("greedy")) for _ in range(100)]
    await settle()
    tasks.append(asyncio.create_task(call("small")))
    await settle()
    begin.set()
    await asyncio.gather(*tasks)
    assert order.index("small") == 2
    assert len(order) == 101


async def test_waiting_has_a_share() -> None:
    """A connection whose share waits already is refused at once; the others are not, and places come back."""
    budget = Budget("calls", 40)
    turns = FairSemaphore(1, budget)
    async with turns.acquire("any"):
        waiting = [asyncio.create_task(_one(turns, "greedy")) for _ in range(20)]
        await settle()
        with pytest.raises(LimitExceededError):
            await _one(turns, "greedy")
        small = asyncio.create_task(_one(turns, "small"))
        await settle()
        assert budget.used == 21
    await asyncio.gather(*waiting, small)
    assert budget.used == 0


async def test_who_gives_up_takes_no_turn() -> None:
    """A call that is cancelled while it waits, or just as its turn comes, leaves the slot to the next."""
    turns = FairSemaphore(1, Budget("calls", 40))
    first = turns.acquire("a")
    await first.__aenter__()
    gone, late, last = (asyncio.create_task(_one(turns, peer)) for peer in "abc")
    await settle()
    gone.cancel()
    await settle()
    await first.__aexit__(None, None, None)
    late.cancel()  # its turn has come, and it has not run yet
    await asyncio.wait_for(last, 5.0)
    assert late.cancelled()
    assert gone.cancelled()
    await asyncio.wait_for(_one(turns, "d"), 5.0)


async def _one(turns: FairSemaphore, peer: str) -> None:
    async with turns.acquire(peer):
        await asyncio.sleep(0)
