"""The loop as calls see it: connections take turns at giving commands.

Each command is a write to the disk. The loop takes what comes in its order, facts of engines among it, so whoever sent it a thousand
commands would hold up everybody, and hide a death of an engine for as long. A few are with the loop at any time, the rest wait here; who
has gone meanwhile is not waited for any more, and its command is never given. A command that the loop has keeps its turn until it is
done, whoever has gone: else calls with short deadlines would fill the loop's queue past everybody's turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Final

from echoplaned.core.budgets import Budget
from echoplaned.core.commands import Command
from echoplaned.core.effects import Announce
from echoplaned.core.state import Operation, State
from echoplaned.ports.handle import Handle
from echoplaned.ports.own_tasks import OwnTasks, outcome_of
from echoplaned.rpc.fair_semaphore import FairSemaphore
from echoplaned.rpc.peer import current_peer

AT_ONCE: Final = 4
"""Commands that are with the loop: enough that it never waits for the next, few enough that a fact does not wait long."""

WAITING: Final = 1000
"""Commands that wait for their turn, of which a connection has half."""


class FairHandle:
    """A handle whose commands come from the connections in turn.

    Args:
        handle: the loop.
    """

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._turns = FairSemaphore(AT_ONCE, Budget("commands that wait", WAITING))
        self._given = OwnTasks()

    @property
    def state(self) -> State:
        """The newest committed state; frozen."""
        return self._handle.state

    def now_s(self) -> float:
        """Seconds since the epoch."""
        return self._handle.now_s()

    def new_id(self) -> str:
        """Draw an id for an operation or a rollout."""
        return self._handle.new_id()

    async def submit(self, command: Command) -> Operation | None:
        """Give a command when it is this connection's turn.

        Returns the operation that answers it.

        Raises:
            DaemonError: too many of the connection's commands, or of all, wait already; or as ``Handle.submit`` says. Nothing changed.
        """
        return await outcome_of(await self.give(command))

    async def give(self, command: Command) -> asyncio.Future[Operation | None]:
        """Give a command when it is this connection's turn; return its outcome to be.

        Raises:
            DaemonError: too many of the connection's commands, or of all, wait already.
        """
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._turns.acquire(current_peer()))
            turn = stack.pop_all()
        return self._given.begin(self._finish(command, turn))

    async def _finish(self, command: Command, turn: AsyncExitStack) -> Operation | None:
        async with turn:
            return await self._handle.submit(command)

    async def wait_until(self, condition: Callable[[State], bool], timeout_s: float | None = None) -> State:
        """Return the first state that fulfils a condition.

        Raises:
            TimeoutError: it did not come in time.
        """
        return await self._handle.wait_until(condition, timeout_s)

    def follow(self, after_sequence: int) -> AsyncIterator[Announce]:
        """Yield every announcement after a sequence number."""
        return self._handle.follow(after_sequence)
