"""Channels to engines on this machine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import grpc.aio

from echoplaned.core.text import escape_lines
from echoplaned.worker_contract.control_key import Metadata, key_metadata

_OPTIONS: Final = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.use_local_subchannel_pool", 1),
)

Options = tuple[tuple[str, int], ...]
"""Further channel arguments of gRPC, by name."""


def open_channel(address: str, more: Options = ()) -> grpc.aio.Channel:
    """Return a channel to an engine on this machine."""
    return grpc.aio.insecure_channel(address, options=(*_OPTIONS, *more))


_MAX_DETAILS: Final = 2000


def answer_details(error: grpc.aio.AioRpcError) -> str:
    """Return what an engine said of its error, bounded and escaped.

    It goes into failures, logs and tables.
    """
    return escape_lines((error.details() or "")[:_MAX_DETAILS])


@dataclass(frozen=True, slots=True)
class EngineChannel:
    """How the daemon itself calls an engine.

    Attributes:
        channel: gRPC channel to the engine.
        metadata: metadata that shows that the daemon calls, the leader's control key; empty: a leader without one.
    """

    channel: grpc.aio.Channel
    metadata: Metadata = ()


KeyAt = Callable[[str], str]
"""Returns the control key of the leader at an address, ``HOST:PORT``; empty: it has none, or there is no such leader."""

IDLE_S: Final = 300.0
"""A channel that nobody asked for in so long is closed: its engine has most likely gone. Calls must end before, or are cancelled."""


@dataclass(slots=True)
class _Open:
    channel: grpc.aio.Channel
    used_s: float


class Channels:
    """One gRPC channel an address, opened at its first use.

    It is closed when it was idle for ``IDLE_S``. Event loop only.

    Args:
        more: further channel arguments of all of them.
        clock: monotonic seconds.
        key_at: knows the control keys.
    """

    def __init__(
        self, more: Options = (), clock: Callable[[], float] = time.monotonic, key_at: KeyAt = lambda _: ""
    ) -> None:
        self._more = more
        self._key_at = key_at
        self._clock = clock
        self._open: dict[str, _Open] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """Return how many are open."""
        return len(self._open)

    def to(self, address: str) -> grpc.aio.Channel:
        """Return the channel to an engine, for a call that begins now."""
        now_s = self._clock()
        for idle in [at for at, known in self._open.items() if at != address and now_s - known.used_s > IDLE_S]:
            task = asyncio.ensure_future(self._open.pop(idle).channel.close(None))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        known = self._open.get(address)
        if known is None:
            known = self._open[address] = _Open(open_channel(address, self._more), now_s)
        known.used_s = now_s
        return known.channel

    def engine_channel(self, address: str) -> EngineChannel:
        """Return how the daemon calls an engine now: its channel and control key.

        Both are looked up anew: another leader may listen there than the last time.
        """
        return EngineChannel(self.to(address), key_metadata(self._key_at(address)))

    async def close(self) -> None:
        """Close every channel."""
        channels = [known.channel for known in self._open.values()]
        self._open.clear()
        await asyncio.gather(*self._closing, *(channel.close(None) for channel in channels))
