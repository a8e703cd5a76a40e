"""Waits until the gateway has the clients that were published last."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress

from echoplaned.xds.names import ResourceType
from echoplaned.xds.stream import Stream


class ClientsInForce:
    """Whether every gateway that is connected knows who may call through it.

    Belongs to one event loop.

    Args:
        streams: those that are open now.
    """

    def __init__(self, streams: Callable[[], Iterable[Stream]]) -> None:
        self._streams = streams
        self._is_running: Callable[[], bool] = lambda: False
        self._in_force = asyncio.Event()
        self._in_force.set()

    def expect_gateway(self, is_running: Callable[[], bool]) -> None:
        """Wait for a gateway that runs and is not connected, too.

        It goes on with what another daemon told it.
        """
        self._is_running = is_running

    def on_published(self) -> None:
        """Note that others may call now: every gateway has to be told."""
        self._in_force.clear()
        self.look()

    def look(self) -> None:
        """Look again, once a gateway answered or left."""
        if self._in_force.is_set() or not all(_has_all(each) for each in self._streams()):
            return
        if any(_is_gateway(each) for each in self._streams()) or not self._is_running():
            self._in_force.set()

    async def wait(self, timeout_s: float) -> None:
        """Wait until every gateway has them, ``timeout_s`` at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._in_force.wait()


def _is_gateway(stream: Stream) -> bool:
    return stream.node.listener is not None and bool(stream.subscriptions[ResourceType.EXTENSION].names)


def _has_all(stream: Stream) -> bool:
    """Return whether a stream's client has accepted all extensions that it asked for.

    One that asked for none has no listener that could use them yet.
    """
    extensions = stream.subscriptions[ResourceType.EXTENSION]
    served = (stream.find_served(ResourceType.EXTENSION, name) for name in extensions.names)
    return all(each is None or extensions.is_accepted(each) for each in served)
