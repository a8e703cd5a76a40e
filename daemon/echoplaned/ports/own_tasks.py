"""Work that goes on when the caller who asked for it has gone.

A caller's deadline cancels whatever awaits on its behalf. What must not end half way (a write, and what follows from it in memory) runs
in a task that no caller has, and the caller waits for its end for as long as it likes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class OwnTasks:
    """Keeps tasks until they end: an event loop alone keeps none alive."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Future[Any]] = set()

    def begin(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Begin some work, which goes on whoever waits for it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Future[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited has it; nobody may be left


async def outcome_of(work: asyncio.Future[Result]) -> Result:
    """Wait for somebody else's work; whoever is cancelled here does not cancel it.

    Raises:
        Exception: what the work raised.
    """
    await asyncio.wait({work})
    return work.result()
