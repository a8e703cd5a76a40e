"""Permits go round by connection, and none is lost."""

from __future__ import annotations

import asyncio

from echoplaned.worker_contract.inference.fair_permits import FairPermits


async def test_connections_take_turns() -> None:
    """Behind a hundred of one connection that wait, another's one is the next but one."""
    permits, order = FairPermits(1), []

    async def take(peer: str) -> None:
        await permits.acquire(peer)
        order.append(peer)
        permits.release()

    await permits.acquire("first")
    tasks = [asyncio.create_task(take("greedy")) for _ in range(100)]
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(take("small")))
    await asyncio.sleep(0)
    assert permits.waiting == 101
    permits.release()
    await asyncio.gather(*tasks)
    assert order.index("small") == 1
    assert permits.waiting == 0


async def test_as_many_as_there_are_are_taken_at_once() -> None:
    """The one that finds none waits for the first that comes back."""
    permits = FairPermits(2)
    assert permits.try_acquire()
    await permits.acquire("a")
    assert not permits.try_acquire()
    waiting = asyncio.create_task(permits.acquire("b"))
    await asyncio.sleep(0)
    assert not waiting.done()
    permits.release()
    await waiting
    assert not permits.try_acquire()


async def test_who_goes_while_waiting_takes_nothing_along() -> None:
    """Whether it left the queue or its turn had just come, the permit is there for the next one."""
    permits = FairPermits(1)
    await permits.acquire("a")
    gone = asyncio.create_task(permits.acquire("b"))
    lucky = asyncio.create_task(permits.acquire("c"))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    permits.release()
    lucky.cancel()  # its turn has come, and it has not heard of it yet
    await asyncio.gather(lucky, return_exceptions=True)
    assert lucky.cancelled()
    assert permits.try_acquire()
