"""Announcements as their followers see them: all of them, in order, from the store and from memory."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any, cast

from echoplaned.core.effects import Announce
from echoplaned.runtime.announces import ANNOUNCES_IN_MEMORY, PAGE, AnnounceLog


def announce(sequence: int) -> Announce:
    """Return one of some model."""
    return Announce(sequence, float(sequence), "models/m", "model.changed", f"{sequence}")


class Stored:
    """Announcements that were written, and how often they were read."""

    def __init__(self, count: int) -> None:
        self.announces = [announce(number) for number in range(1, count + 1)]
        self.reads = 0

    def read(self, after: int, limit: int) -> tuple[Announce, ...]:
        """Return the next ones."""
        self.reads += 1
        return tuple(self.announces[after : after + limit])


async def read(log: AnnounceLog, after: int, count: int) -> list[int]:
    """Return so many sequence numbers; none may be waited for."""
    found: list[int] = []
    async with asyncio.timeout(20.0), aclosing(cast(Any, log.follow(after))) as told:
        while len(found) < count:
            found.append((await anext(told)).sequence)
    return found


async def test_everything_that_is_stored_is_told_after_a_start() -> None:
    """Though nothing has happened since: one page of it was, and then the next event was waited for."""
    count = 2 * PAGE + 500
    log = AnnounceLog(Stored(count).read)
    assert await read(log, 0, count) == list(range(1, count + 1))
    assert await read(log, count - 3, 3) == [count - 2, count - 1, count]


async def test_what_comes_meanwhile_follows() -> None:
    """A follower that has read all of it waits without reading again and again, and is told of the next one."""
    stored = Stored(PAGE)
    log = AnnounceLog(stored.read)
    async with asyncio.timeout(20.0), aclosing(cast(Any, log.follow(0))) as told:
        for number in range(1, PAGE + 1):
            assert (await anext(told)).sequence == number
        waiting = asyncio.ensure_future(anext(told))
        await asyncio.sleep(0.2)
        assert (stored.reads, waiting.done()) == (2, False)
        for number in (PAGE + 1, PAGE + 2):
            stored.announces.append(announce(number))
            log.append(stored.announces[-1])
        assert [(await waiting).sequence, (await anext(told)).sequence] == [PAGE + 1, PAGE + 2]


async def test_a_follower_that_is_far_behind_misses_nothing() -> None:
    """What memory has no more is read from the store, then memory goes on."""
    count = ANNOUNCES_IN_MEMORY + PAGE + 7
    stored = Stored(count)
    log = AnnounceLog(stored.read)
    for each in stored.announces:
        log.append(each)
    assert await read(log, 0, count) == list(range(1, count + 1))
