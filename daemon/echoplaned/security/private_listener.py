"""A gRPC server on a unix socket that its user alone can open.

The socket is a file: on a disk that is full or read-only it cannot be made. Its server is then started as soon as it can be.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import grpc.aio
import structlog

from echoplane.options import socket_target
from echoplaned.core.errors import FieldInvalidError

log = structlog.get_logger(__name__)

_OTHERS: Final = 0o177


@dataclass(slots=True)
class PrivateListener:
    """Starts a server on a socket, now or once the disk takes it.

    Attributes:
        server: not started yet; it has no other address.
        socket: where it listens. What a daemon that was killed left there is replaced: the caller holds the directory's lock.
        prepare: what must be written before somebody calls; an OSError of it is one more reason to wait. A setting that it refuses is
            raised by :meth:`open`, and a reason to wait later.
        retry_s: seconds between two tries.
    """

    server: grpc.aio.Server
    socket: Path
    prepare: Callable[[], None] = lambda: None
    retry_s: float = 2.0
    _is_open: bool = field(default=False, init=False)
    _reason: str = field(default="", init=False)

    async def open(self) -> None:
        """Start the server if the disk takes its socket.

        Otherwise it is said why, and :meth:`wait` tries again.

        Raises:
            FieldInvalidError: ``prepare`` refuses a setting.
        """
        try:
            self.prepare()
            self._listen()
        except (OSError, RuntimeError) as error:  # gRPC raises RuntimeError for an address that it cannot have
            self._say(str(error))
            return
        await self.server.start()
        self._is_open = True

    async def wait(self) -> None:
        """Try again until the server has been started.

        What would keep a daemon from its start does not end one that serves.
        """
        while not self._is_open:
            await asyncio.sleep(self.retry_s)
            try:
                await self.open()
            except FieldInvalidError as error:
                self._say(str(error))

    def _say(self, reason: str) -> None:
        """Write why it waits, once for each reason.

        It is tried for as long as the disk is as it is.
        """
        if reason != self._reason:
            log.warning("socket.waits", socket=str(self.socket), reason=reason)
        self._reason = reason

    def _listen(self) -> None:
        self.socket.unlink(missing_ok=True)
        before = os.umask(_OTHERS)  # private from its first moment on
        try:
            self.server.add_insecure_port(socket_target(self.socket))
        finally:
            os.umask(before)
        self.socket.chmod(0o600)  # a directory's default ACL goes over the umask
