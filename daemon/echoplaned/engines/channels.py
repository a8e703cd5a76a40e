"""Channels to engines on this machine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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

IDLE_S: Final = 10.0
"""A channel without a call for so long is closed: the rollout that made them is over, or its engine has gone."""


@dataclass(slots=True)
class _Open:
    channel: grpc.aio.Channel
    calls: int = 0
    used_s: float = 0.0


class Channels:
    """One gRPC channel an address, opened at its first call.

    It is closed after ``idle_s`` without a call. Event loop only.

    Args:
        more: further channel arguments of all of them.
        key_at: knows the control keys.
        idle_s: seconds without a call after which a channel is closed.
    """

    def __init__(self, more: Options = (), key_at: KeyAt = lambda _: "", idle_s: float = IDLE_S) -> None:
        self._more = more
        self._key_at = key_at
        self._idle_s = idle_s
        self._open: dict[str, _Open] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Return how many are open."""
        return len(self._open)

    @contextmanager
    def calling(self, address: str) -> Iterator[EngineChannel]:
        """Give what an engine is called with, for the length of a block.

        Its channel stays open so long. The control key is looked up anew: another leader may listen there than the last time.
        """
        known = self._open.get(address)
        if known is None:
            known = self._open[address] = _Open(open_channel(address, self._more))
        known.calls += 1
        try:
            yield EngineChannel(known.channel, key_metadata(self._key_at(address)))
        finally:
            known.calls -= 1
            known.used_s = time.monotonic()
            self._look_later()

    def _look_later(self) -> None:
        if self._timer is None and self._open:
            self._timer = asyncio.get_running_loop().call_later(self._idle_s, self._close_idle)

    def _close_idle(self) -> None:
        """Close those without a call for so long; look again while there are others."""
        self._timer = None
        until_s = time.monotonic() - self._idle_s
        for address in [at for at, known in self._open.items() if not known.calls and known.used_s <= until_s]:
            task = asyncio.ensure_future(self._open.pop(address).channel.close(None))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        self._look_later()

    async def close(self) -> None:
        """Close every channel."""
        channels = [known.channel for known in self._open.values()]
        self._open.clear()
        if self._timer is not None:
            self._timer.cancel()
        await asyncio.gather(*self._closing, *(channel.close(None) for channel in channels))
