"""Connections take turns at giving commands, and few commands are with the loop."""

from __future__ import annotations

import asyncio
import contextlib
from typing import cast

import pytest

from echoplaned.core.commands import Command
from echoplaned.core.errors import LimitExceededError
from echoplaned.core.state import Operation
from echoplaned.ports.handle import Handle
from echoplaned.rpc.fair_handle import AT_ONCE, WAITING, FairHandle
from echoplaned.rpc.peer import set_peer


class _SlowLoop:
    """A loop that does one command at a time, when the test lets it."""

    def __init__(self) -> None:
        self.given: list[str] = []
        self.turn = asyncio.Semaphore(0)

    async def submit(self, command: Command) -> Operation | None:
        """Take a command; answer once the test lets it."""
        self.given.append(str(command))
        await self.turn.acquire()
        return None


async def _settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def _give(handle: FairHandle, peer: str, what: str) -> asyncio.Task[None]:
    async def call() -> None:
        set_peer(peer)
        await handle.submit(cast(Command, what))

    return asyncio.create_task(call())


async def test_a_flood_of_one_connection_holds_up_nobody() -> None:
    """A few commands are with the loop, whoever sends hundreds; another connection's first one is the next to be given."""
    loop = _SlowLoop()
    handle = FairHandle(cast(Handle, loop))
    flood = [_give(handle, "greedy", f"g{number}") for number in range(300)]
    await _settle()
    assert len(loop.given) == AT_ONCE
    honest = _give(handle, "small", "honest")
    await _settle()
    for _ in range(3):
        loop.turn.release()
        await _settle()
    assert "honest" in loop.given[: AT_ONCE + 3]
    for _ in range(400):
        loop.turn.release()
    await asyncio.gather(*flood, honest)
    assert len(loop.given) == 301


async def test_who_has_gone_gives_no_command() -> None:
    """A caller that leaves while it waits has changed nothing, and waits no more."""
    loop = _SlowLoop()
    handle = FairHandle(cast(Handle, loop))
    calls = [_give(handle, "a", f"a{number}") for number in range(AT_ONCE + 50)]
    await _settle()
    for call in calls[AT_ONCE:]:
        call.cancel()
    await _settle()
    for _ in range(100):
        loop.turn.release()
    await asyncio.gather(*calls[:AT_ONCE])
    assert len(loop.given) == AT_ONCE
    for call in calls[AT_ONCE:]:
        with contextlib.suppress(asyncio.CancelledError):
            await call


async def test_a_command_keeps_its_turn_when_its_caller_goes() -> None:
    """What the loop has is done, and counts as one of the few until then, also where its caller has gone: none is given in its place."""
    loop = _SlowLoop()
    handle = FairHandle(cast(Handle, loop))
    first = [_give(handle, "a", f"a{number}") for number in range(AT_ONCE)]
    await _settle()
    for call in first:
        call.cancel()
    second = [_give(handle, "a", f"b{number}") for number in range(AT_ONCE)]
    await _settle()
    assert all(call.cancelled() for call in first)
    assert len(loop.given) == AT_ONCE
    for _ in range(2 * AT_ONCE):
        loop.turn.release()
    await asyncio.gather(*second)
    assert len(loop.given) == 2 * AT_ONCE


async def test_a_connection_has_a_share_of_what_may_wait() -> None:
    """Beyond its half of what may wait a connection is refused at once, and others are not."""
    loop = _SlowLoop()
    handle = FairHandle(cast(Handle, loop))
    calls = [_give(handle, "greedy", "g") for _ in range(AT_ONCE + WAITING // 2)]
    await _settle()
    with pytest.raises(LimitExceededError, match="commands that wait"):
        await _give(handle, "greedy", "one more")
    small = _give(handle, "small", "s")
    await _settle()
    assert not small.done()
    for _ in range(len(calls) + 1):
        loop.turn.release()
    await asyncio.gather(*calls, small)
