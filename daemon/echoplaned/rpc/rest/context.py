"""The context of a call through the gateway, as the API's servicers see it."""

from __future__ import annotations

import asyncio
from typing import Any

from echoplaned.core.door_headers import caller_of
from echoplaned.rpc.interceptor import Context


class GatewayContext:
    """Context of one call, with the caller behind the gateway as its peer.

    All callers come on the gateway's few connections, so the daemon's own connection does not tell who calls.

    Attributes:
        begun: set once a stream's request was found good and its answers will come.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self.begun = asyncio.Event()

    def metadata(self, name: str) -> str:
        """Return a header of the caller; empty: there is none.

        Where there are several of the name, it is the last one.
        """
        found = [value for key, value in self._context.invocation_metadata() or () if key == name]
        return found[-1] if found and isinstance(found[-1], str) else ""

    def peer(self) -> str:
        """Return whose share of a limit a call counts for.

        That is the caller's key, as ``key/ID``. Without one it is the caller's connection to the gateway, as ``gateway:IP:PORT``; where the
        gateway names none, its own.
        """
        return caller_of(self.metadata) or str(self._context.peer())

    async def send_initial_metadata(self, metadata: Any) -> None:  # noqa: ANN401 - gRPC's own type, which nobody fills here
        """Note that the stream begins.

        Headers leave with the first message, so that an error before it has a status of its own.
        """
        self.begun.set()
