"""What the rest of the daemon may do with the loop.

Give commands, read frozen snapshots, wait for changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from echoplaned.core.commands import Command
from echoplaned.core.effects import Announce
from echoplaned.core.state import Operation, State


class Handle(Protocol):
    """The loop, seen from an RPC."""

    @property
    def state(self) -> State:
        """The newest committed state; frozen."""
        ...

    def now_s(self) -> float:
        """Seconds since the epoch."""
        ...

    def new_id(self) -> str:
        """Draw an id for an operation or a rollout: short, unique, sortable by time."""
        ...

    async def submit(self, command: Command) -> Operation | None:
        """Give a command; return the operation that answers it.

        None for commands without one.

        Raises:
            DaemonError: the command was refused, or the store cannot be written; nothing changed.
        """
        ...

    async def give(self, command: Command) -> asyncio.Future[Operation | None]:
        """Give a command; return what its outcome will be, as ``submit`` has it.

        Whoever is cancelled here has given none. A command that was given is done or refused, whoever has gone meanwhile.

        Raises:
            DaemonError: the command was not given.
        """
        ...

    async def wait_until(self, condition: Callable[[State], bool], timeout_s: float | None = None) -> State:
        """Return the first state that fulfils a condition, the present one included.

        Raises:
            TimeoutError: it did not come in time.
        """
        ...

    def follow(self, after_sequence: int) -> AsyncIterator[Announce]:
        """Yield every announcement after a sequence number, then new ones as they come.

        Stored ones come first.
        Stored ones come first.
        A follower that falls more than 1,000 announcements behind is served from the store again; none is skipped
        unless it is older than the 10,000 that are kept.
        """
        ...
