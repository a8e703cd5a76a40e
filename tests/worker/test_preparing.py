"""Work beside the loop: bounded in bytes and in time."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest

from echoplaned.worker_contract.inference.errors import InvalidInputError, OverloadedError
from echoplaned.worker_contract.inference.preparing import MAX_WAITING_BYTES, THREADS, Preparer

SMALL = 1024 * 1024
"""Bytes that every connection may have waiting."""


async def test_results_and_errors_come_back() -> None:
    """Work runs in another thread, and ends as it would here."""
    preparer = Preparer()
    assert await preparer.run(threading.get_ident, 1) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await preparer.run(lambda: 1 // 0, 1)


async def test_one_thread_does_one_thing_at_a_time() -> None:
    """The second piece of work begins when the first has ended, whoever sent it."""
    preparer, go, begun = Preparer(threads=1), threading.Event(), threading.Event()
    first = asyncio.create_task(preparer.run(go.wait, 1, "a"))
    second = asyncio.create_task(preparer.run(begun.set, 1, "b"))
    await asyncio.sleep(0.05)
    assert not begun.is_set()
    go.set()
    await asyncio.gather(first, second)
    assert begun.is_set()


async def test_too_many_bytes_are_refused() -> None:
    """What waits is bounded in all, and the room comes back."""
    preparer, go = Preparer(), threading.Event()
    share = MAX_WAITING_BYTES // 2
    held = asyncio.create_task(preparer.run(go.wait, share, "a"))
    small = [asyncio.create_task(preparer.run(go.wait, SMALL, f"small {n}")) for n in range(share // SMALL)]
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError, match="bytes of requests"):
        await preparer.run(lambda: 1, 1, "b")
    go.set()
    assert await held
    assert all(await asyncio.gather(*small))
    assert await preparer.run(lambda: 1, share, "b") == 1


async def test_one_connection_leaves_room_for_others() -> None:
    """A connection that sends more than its share is refused, while others are read, large requests and small ones."""
    preparer, go = Preparer(), threading.Event()
    share = MAX_WAITING_BYTES // 2
    held = asyncio.create_task(preparer.run(go.wait, share, "greedy"))
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError, match="this connection holds"):
        await preparer.run(lambda: 1, 1, "greedy")
    assert await preparer.run(lambda: 1, SMALL, "small") == 1
    go.set()
    assert await held


async def test_more_than_a_share_takes_the_whole_share() -> None:
    """A request that could never fit is not refused for good: it has its connection's share to itself."""
    preparer, go = Preparer(), threading.Event()
    share = MAX_WAITING_BYTES // 2
    held = asyncio.create_task(preparer.run(go.wait, 3 * share, "a"))
    await asyncio.sleep(0)
    assert preparer.waiting_bytes == share
    with pytest.raises(OverloadedError, match="this connection holds"):
        await preparer.run(lambda: 1, 1, "a")
    assert await preparer.run(lambda: 1, SMALL, "b") == 1
    go.set()
    assert await held
    assert preparer.waiting_bytes == 0


async def test_connections_take_turns_at_the_threads() -> None:
    """Beside a hundred requests of one connection that wait, another's is the first to be read when a thread comes free."""
    preparer, go, order = Preparer(), threading.Event(), []
    held = [asyncio.create_task(preparer.run(go.wait, 1, "greedy")) for _ in range(THREADS)]
    late = [asyncio.create_task(preparer.run(lambda: order.append("greedy"), 1, "greedy")) for _ in range(100)]
    await asyncio.sleep(0)
    late.append(asyncio.create_task(preparer.run(lambda: order.append("small"), 1, "small")))
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(*held, *late)
    # Each thread that comes free takes one; of those that were free at once the small one's may be the last.
    assert order.index("small") < 2 * THREADS
    assert len(order) == 101


async def test_an_error_that_nobody_waits_for_is_quiet(caplog: pytest.LogCaptureFixture) -> None:
    """What fails after its caller went frees its thread and its bytes, and nothing complains."""
    preparer, go = Preparer(), threading.Event()

    def fail() -> None:
        go.wait()
        raise ValueError

    gone = asyncio.create_task(preparer.run(fail, MAX_WAITING_BYTES // 2, "a"))
    await asyncio.sleep(0.05)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    with pytest.raises(OverloadedError):
        await preparer.run(lambda: 1, 1, "a")
    go.set()
    await preparer.run(lambda: 1, 1, "b")
    while preparer.waiting_bytes:
        await asyncio.sleep(0.001)
    gc.collect()
    assert not caplog.records


async def test_work_that_does_not_end_is_answered() -> None:
    """Its caller hears of it in time; others that find no thread free are told that, and are not blamed."""
    preparer, go = Preparer(deadline_s=0.2), threading.Event()
    stuck = [asyncio.create_task(preparer.run(go.wait, 1)) for _ in range(THREADS)]
    await asyncio.sleep(0.1)
    with pytest.raises(OverloadedError, match="no thread was free"):
        await preparer.run(lambda: 1, 1)
    for outcome in await asyncio.gather(*stuck, return_exceptions=True):
        assert isinstance(outcome, InvalidInputError)
        assert "did not end within 0.2 s" in str(outcome)
    go.set()
    assert await preparer.run(lambda: 1, 1) == 1


async def test_a_caller_that_goes_leaves_no_work() -> None:
    """What has not begun when its caller goes is never done."""
    preparer, go, done = Preparer(), threading.Event(), []
    held = [asyncio.create_task(preparer.run(go.wait, 1)) for _ in range(THREADS)]
    late = asyncio.create_task(preparer.run(lambda: done.append(1), 1))
    await asyncio.sleep(0.05)
    late.cancel()
    await asyncio.gather(late, return_exceptions=True)
    go.set()
    await asyncio.gather(*held)
    assert await preparer.run(lambda: 1, 1) == 1
    assert done == []
