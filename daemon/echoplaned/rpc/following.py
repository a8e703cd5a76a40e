"""Following the state: a snapshot at once, and one after each change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

from echoplaned.core.budgets import Budget, BudgetExceededError
from echoplaned.core.errors import LimitExceededError
from echoplaned.core.state import State
from echoplaned.ports.handle import Handle
from echoplaned.rpc.lifecycle import DaemonStoppingError, Lifecycle

Seen = TypeVar("Seen")
Result = TypeVar("Result")


async def follow(handle: Handle, lifecycle: Lifecycle, watched: Callable[[State], Seen]) -> AsyncIterator[Seen]:
    """Yield what is watched, now and after each change of it.

    Changes that come while one is handled are told as one.

    Raises:
        DaemonStoppingError: the daemon stops.
    """
    while True:
        seen = watched(handle.state)
        yield seen
        await until_stop(lifecycle, handle.wait_until(_differs(watched, seen)))


def _differs(watched: Callable[[State], Seen], seen: Seen) -> Callable[[State], bool]:
    return lambda state: watched(state) != seen


async def until_stop(lifecycle: Lifecycle, work: Awaitable[Result]) -> Result:
    """Return what some work returns, unless the daemon stops first.

    Raises:
        DaemonStoppingError: the daemon stops first.
    """
    task = asyncio.ensure_future(work)
    stop = asyncio.ensure_future(lifecycle.wait_stopping())
    try:
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise DaemonStoppingError
        return task.result()
    finally:
        task.cancel()
        stop.cancel()
        # Waited for, so that a generator which the task was in can be closed by whoever owns it.
        await asyncio.gather(task, stop, return_exceptions=True)


@asynccontextmanager
async def closing(source: AsyncIterator[Result]) -> AsyncIterator[AsyncIterator[Result]]:
    """Close an iterator at the end of a block, if it can be closed."""
    try:
        yield source
    finally:
        if isinstance(source, AsyncGenerator):
            await source.aclose()


class Watchers:
    """How many streams follow something.

    Each costs memory and a wake-up a change, so a connection has a share of them.
    """

    def __init__(self, limit: int, what: str = "watchers") -> None:
        self._budget = Budget(what, limit)

    @contextmanager
    def reserve(self, peer: str) -> Iterator[None]:
        """Count a stream of a connection while it lasts.

        Raises:
            LimitExceededError: the connection, or all of them together, have as many as are allowed.
        """
        try:
            self._budget.acquire(peer)
        except BudgetExceededError as refused:
            raise LimitExceededError(self._budget.what, str(refused), 5.0) from None
        try:
            yield
        finally:
            self._budget.release(peer)
