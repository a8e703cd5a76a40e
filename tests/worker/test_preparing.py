"""Work beside the loop: bounded in bytes and in time."""

from __future__ import annotations

import asyncio
import threading

import pytest

from echoplaned.worker.preparing import MAX_WAITING_BYTES, THREADS, Preparer
from echoplaned.worker_contract.inference.errors import InvalidInputError, OverloadedError


async def test_results_and_errors_come_back() -> None:
    """Work runs in another thread, and ends as it would here."""
    preparer = Preparer()
    assert await preparer.run(threading.get_ident, 1) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await preparer.run(lambda: 1 // 0, 1)


async def test_too_many_bytes_are_refused() -> None:
    """What waits is bounded in all, and the room comes back."""
    preparer, go = Preparer(), threading.Event()
    held = asyncio.create_task(preparer.run(go.wait, MAX_WAITING_BYTES))
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError, match="bytes of requests"):
        await preparer.run(lambda: 1, 1)
    go.set()
    assert await held
    assert await preparer.run(lambda: 1, MAX_WAITING_BYTES) == 1


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
