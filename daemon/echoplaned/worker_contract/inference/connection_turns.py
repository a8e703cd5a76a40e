"""Turns of one connection's calls at a worker, in the order in which they came."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from echoplaned.worker_contract.inference.errors import OverloadedError

MAX_UNDER_WAY: Final = 128
MAX_WAITING: Final = 1024
MAX_WAITING_BYTES: Final = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class TurnLimits:
    """What a connection may have at once.

    Attributes:
        under_way: calls that have their turn.
        waiting: calls that wait for one.
        waiting_bytes: size of the requests that wait.
    """

    under_way: int = MAX_UNDER_WAY
    waiting: int = MAX_WAITING
    waiting_bytes: int = MAX_WAITING_BYTES


class ConnectionTurns:
    """Lets so many calls of each connection be under way; further ones wait.

    Event loop only.

    HTTP/2 has a limit for that, which gRPC's servers offer (``grpc.max_concurrent_streams``) and which fails calls: a client opens its next
    stream as soon as it sees the end of one, and a server that has not yet forgotten that one refuses the next (measured: of 300 calls at a
    time at a limit of 128, a third ended UNAVAILABLE).

    Invariant: a connection is known while it has a call, so memory comes back with its last one.
    """

    def __init__(self, limits: TurnLimits | None = None) -> None:
        self._limits = limits or TurnLimits()
        self._connections: dict[str, _OpenCalls] = {}

    def __len__(self) -> int:
        """Return how many connections have calls."""
        return len(self._connections)

    @asynccontextmanager
    async def acquire(self, peer: str, size_of: Callable[[], int]) -> AsyncIterator[None]:
        """Wait for a turn and have it while the block runs.

        Args:
            peer: the connection.
            size_of: returns the request's bytes; asked only where it has to wait, as a message is written out for that.

        Raises:
            OverloadedError: too much of the connection waits already.
        """
        connection = self._connections.get(peer)
        if connection is None:
            connection = self._connections[peer] = _OpenCalls(asyncio.Semaphore(self._limits.under_way))
        connection.calls += 1
        try:
            await self._wait(connection, size_of)
            try:
                yield
            finally:
                connection.semaphore.release()
        finally:
            connection.calls -= 1
            if not connection.calls:
                del self._connections[peer]

    async def _wait(self, connection: _OpenCalls, size_of: Callable[[], int]) -> None:
        """Take a turn, at once or behind those of the connection that wait."""
        if not connection.semaphore.locked():
            await connection.semaphore.acquire()
            return
        size_bytes = size_of()
        self._refuse_excess(connection, size_bytes)
        connection.waiting += 1
        connection.waiting_bytes += size_bytes
        try:
            await connection.semaphore.acquire()
        finally:
            connection.waiting -= 1
            connection.waiting_bytes -= size_bytes

    def _refuse_excess(self, connection: _OpenCalls, size_bytes: int) -> None:
        if connection.waiting >= self._limits.waiting:
            raise OverloadedError(
                f"{self._limits.waiting} calls of this connection wait already: wait for answers, or open another connection"
            )
        if connection.waiting_bytes + size_bytes > self._limits.waiting_bytes:
            raise OverloadedError(
                f"requests of {connection.waiting_bytes} bytes of this connection wait already, "
                f"with this one more than {self._limits.waiting_bytes}: wait for answers, or send less at once"
            )


@dataclass(slots=True)
class _OpenCalls:
    """What one connection has open: its turns, its calls, and those of them that wait."""

    semaphore: asyncio.Semaphore
    calls: int = 0
    waiting: int = 0
    waiting_bytes: int = 0
