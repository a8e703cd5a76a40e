"""Counts how often the event loop turns while something else is done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass


@dataclass(slots=True)
class Turns:
    """Turns of the loop that were seen.

    Attributes:
        count: how many so far.
    """

    count: int = 0


@asynccontextmanager
async def counted_turns() -> AsyncIterator[Turns]:
    """Count the turns that the loop has until the block ends."""
    turns = Turns()

    async def count() -> None:
        while True:
            await asyncio.sleep(0)
            turns.count += 1

    counting = asyncio.create_task(count())
    await asyncio.sleep(0)
    try:
        yield turns
    finally:
        counting.cancel()
        with suppress(asyncio.CancelledError):
            await counting
