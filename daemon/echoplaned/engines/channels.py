"""Channels to engines on this machine."""

from __future__ import annotations

import asyncio
from typing import Final

import grpc.aio

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


class Channels:
    """One channel an address, opened at its first use.

    Args:
        more: further channel arguments of all of them.
    """

    def __init__(self, more: Options = ()) -> None:
        self._more = more
        self._open: dict[str, grpc.aio.Channel] = {}

    def to(self, address: str) -> grpc.aio.Channel:
        """Return the channel to an engine."""
        channel = self._open.get(address)
        if channel is None:
            channel = self._open[address] = open_channel(address, self._more)
        return channel

    async def forget(self, address: str) -> None:
        """Close the channel of an engine that has gone."""
        channel = self._open.pop(address, None)
        if channel is not None:
            await channel.close(None)

    async def close(self) -> None:
        """Close every channel."""
        channels = list(self._open.values())
        self._open.clear()
        await asyncio.gather(*(channel.close(None) for channel in channels))
