"""Serves the HTTP application with uvicorn on the worker's own loop.

uvicorn is one pure-Python package over h11, which we have anyway; it leaves the loop and its signals to us.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from pathlib import Path
from typing import Any, Final

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from echoplaned.worker.http.app import HttpApp

MAX_CONNECTIONS: Final = 1024
MAX_HEAD_S: Final = 10.0
"""Longest time in which a request's line and headers must have come, in seconds."""

MAX_HEAD_BYTES: Final = 64 * 1024
KEEP_ALIVE_S: Final = 75
"""Longest time that a connection may wait for its next request; gateways give up sooner."""

_CUT_S: Final = 1.0
_serials = itertools.count(1)


class BoundedProtocol(H11Protocol):
    """A connection whose request must come in time; connections are counted."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - handed on
        super().__init__(*args, **kwargs)
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as its parent has it
        """Name the connection, since a unix socket's peers have no address.

        Connections take turns by this name.
        """
        super().connection_made(transport)
        self.client = (f"http-{next(_serials)}", 0)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
            return
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Read on; where no request is complete yet, its time runs from its first byte."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self._wait_for_head()
        else:
            self._stop_waiting()

    def handle_events(self) -> None:
        """Handle what has come.

        Where it makes no sense and an answer has begun, there is nothing left to say.
        """
        try:
            super().handle_events()
        except h11.LocalProtocolError:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(MAX_HEAD_S, self._head_is_late)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self.conn.their_state is h11.IDLE:
            self.transport.abort()


class HttpServer:
    """Serves an application on a socket until it is told to end.

    Args:
        app: what answers.
        listening: where callers connect.
        path: of the socket.
    """

    def __init__(self, app: HttpApp, listening: socket.socket, path: Path) -> None:
        self._app = app
        self._listening = listening
        self._path = path
        self._config = uvicorn.Config(
            app,
            http=BoundedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level=100,  # what it would say, the application has said or answered
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        )
        self._config.load()
        self._state = uvicorn.server.ServerState()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Serve; those who connected before are served now."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(self._make, sock=self._listening)

    async def stop(self, grace_s: float) -> None:
        """Refuse new requests, let those under way end, and remove the socket.

        What has not ended after ``grace_s`` seconds is cut.
        """
        self._app.is_stopping = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._app.wait_until_idle()
        self._path.unlink(missing_ok=True)
        if self._server is not None:
            self._server.close()
        tasks = list(self._state.tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CUT_S)
        for connection in list(self._state.connections):
            connection.transport.close()

    def _make(self) -> BoundedProtocol:
        return BoundedProtocol(config=self._config, server_state=self._state, app_state={})
