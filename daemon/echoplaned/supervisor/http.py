"""HTTP/1.1 client for one engine, on loopback or on a unix socket.

h11 does the protocol, this file the connections.

A client library would do it as well and take 15 MB of this process's 60.
"""

from __future__ import annotations

import asyncio
import errno
import json
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

import h11

_READ_BYTES: Final = 64 * 1024
_MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
_MAX_LINE_BYTES: Final = 8 * 1024 * 1024
_MAX_IDLE: Final = 32
_IDLE_S: Final = 2.0
"""Idle connections are used again within this time: engines close theirs after five seconds and more."""

_DATA: Final = b"data:"
_SPENT: Final = frozenset({errno.EMFILE, errno.ENFILE})


class EngineAwayError(Exception):
    """The engine cannot be reached, or broke off."""


class _UnansweredError(EngineAwayError):
    """The engine broke off before a byte of its answer."""


class NoConnectionError(EngineAwayError):
    """This process has as many connections and files open as it may."""


class EngineSlowError(Exception):
    """The engine did not answer in time."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An engine's answer to an HTTP request.

    Attributes:
        status: HTTP status code; 0: what came was no response.
        body: whole body.
    """

    status: int
    body: bytes

    def json(self) -> Any:  # noqa: ANN401 - whatever the engine wrote
        """Return the body as JSON; None where it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """Where an engine listens.

    Attributes:
        socket: path of a unix socket; empty: it listens on ``port``.
        port: TCP port on 127.0.0.1; 0: it listens on ``socket``.
    """

    socket: str = ""
    port: int = 0

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection.

        Raises:
            OSError: nobody listens.
        """
        if self.socket:
            return await asyncio.open_unix_connection(self.socket)
        return await asyncio.open_connection("127.0.0.1", self.port)


class _Connection:
    """One connection; one exchange at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._protocol = h11.Connection(h11.CLIENT)
        self.used_s = 0.0

    async def send(self, method: str, path: str, body: bytes) -> None:
        headers = [("Host", "engine"), ("Content-Length", str(len(body)))]
        if body:
            headers.append(("Content-Type", "application/json"))
        out = self._protocol.send(h11.Request(method=method, target=path, headers=headers)) or b""
        if body:
            out += self._protocol.send(h11.Data(data=body)) or b""
        out += self._protocol.send(h11.EndOfMessage()) or b""
        self._writer.write(out)
        await self._writer.drain()

    async def next_event(self) -> h11.Response | h11.Data | h11.EndOfMessage:
        while True:
            event = self._protocol.next_event()
            if event is h11.NEED_DATA:
                self._protocol.receive_data(await self._reader.read(_READ_BYTES))
            elif isinstance(event, (h11.Response, h11.Data, h11.EndOfMessage)):
                return event
            elif not isinstance(event, h11.InformationalResponse):
                raise h11.RemoteProtocolError("the engine closed the connection")

    def reset(self) -> bool:
        """Make ready for another exchange; whether it can be."""
        if self._protocol.our_state is not h11.DONE or self._protocol.their_state is not h11.DONE:
            return False
        self._protocol.start_next_cycle()
        return True

    def close(self) -> None:
        self._writer.close()


class EngineHttp:
    """Calls of one engine; connections are kept for the next call.

    Args:
        address: where it listens.
    """

    def __init__(self, address: EngineAddress) -> None:
        self._address = address
        self._idle: deque[_Connection] = deque()

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        timeout_s: float | None = None,
        most_bytes: int = _MAX_ANSWER_BYTES,
    ) -> HttpAnswer:
        """Make one call.

        Raises:
            EngineAwayError: it cannot be reached, or broke off, or answers with more bytes than these.
            EngineSlowError: it did not answer within the time.
        """
        data = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()
        try:
            async with asyncio.timeout(timeout_s):
                return await self._call(method, path, data, most_bytes)
        except TimeoutError as error:
            raise EngineSlowError(f"{path} was not answered within {timeout_s:g} s") from error

    async def lines(self, path: str, body: object) -> AsyncGenerator[bytes, None]:
        """Post a call and yield what follows each ``data:`` of its event stream.

        The answer is a stream of server-sent events.

        An answer that is no stream (an error) comes as a ``BadStatusError``.

        Raises:
            EngineAwayError: it cannot be reached, or broke off.
            BadStatusError: it answered with a status other than 200.
        """
        connection = await self._open()
        finished = False
        try:
            await connection.send("POST", path, json.dumps(body, ensure_ascii=False).encode())
            response = await connection.next_event()
            if not isinstance(response, h11.Response) or response.status_code != 200:
                status = response.status_code if isinstance(response, h11.Response) else 0
                raise BadStatusError(HttpAnswer(status, await _read_body(connection, _MAX_ANSWER_BYTES)))
            async with aclosing(_split(connection)) as found:
                async for line in found:
                    yield line
            finished = True
        except (OSError, h11.ProtocolError) as error:
            raise EngineAwayError(f"the engine broke off: {error}") from error
        finally:
            self._keep_or_close(connection, finished=finished)

    def close(self) -> None:
        """Close every idle connection."""
        while self._idle:
            self._idle.pop().close()

    async def _call(self, method: str, path: str, data: bytes, most_bytes: int) -> HttpAnswer:
        connection = self._reuse()
        if connection is not None:
            try:
                return await self._exchange(connection, method, path, data, most_bytes)
            except _UnansweredError:
                # The engine may have closed an idle connection meanwhile, and then those beside it. Once, and on a fresh one: a call
                # that ends the engine's work on it would do so again on each.
                self.close()
        return await self._exchange(await self._open(), method, path, data, most_bytes)

    async def _exchange(
        self, connection: _Connection, method: str, path: str, data: bytes, most_bytes: int
    ) -> HttpAnswer:
        finished = answered = False
        try:
            await connection.send(method, path, data)
            response = await connection.next_event()
            answered = True
            if not isinstance(response, h11.Response):
                raise h11.RemoteProtocolError("an answer without a status")
            answer = HttpAnswer(response.status_code, await _read_body(connection, most_bytes))
            finished = True
        except (OSError, h11.ProtocolError) as error:
            kind = EngineAwayError if answered else _UnansweredError
            raise kind(f"the engine broke off: {error}") from error
        else:
            return answer
        finally:
            self._keep_or_close(connection, finished=finished)

    def _reuse(self) -> _Connection | None:
        now_s = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            if now_s - connection.used_s < _IDLE_S:
                return connection
            connection.close()
        return None

    async def _open(self) -> _Connection:
        try:
            return _Connection(*await self._address.connect())
        except OSError as error:
            if error.errno in _SPENT:
                raise NoConnectionError(
                    "no further connection to the engine can be opened: call again later"
                ) from error
            raise EngineAwayError(f"the engine cannot be reached: {error}") from error

    def _keep_or_close(self, connection: _Connection, *, finished: bool) -> None:
        if finished and len(self._idle) < _MAX_IDLE and connection.reset():
            connection.used_s = asyncio.get_running_loop().time()
            self._idle.append(connection)
        else:
            connection.close()


class BadStatusError(Exception):
    """A stream was answered with another status than 200. ``answer``: what came."""

    def __init__(self, answer: HttpAnswer) -> None:
        super().__init__(f"status {answer.status}")
        self.answer = answer


async def _read_body(connection: _Connection, most_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while isinstance(event := await connection.next_event(), h11.Data):
        size += len(event.data)
        if size > most_bytes:
            raise h11.RemoteProtocolError(f"an answer of more than {most_bytes} bytes")
        parts.append(bytes(event.data))
    return b"".join(parts)


async def _split(connection: _Connection) -> AsyncGenerator[bytes, None]:
    """Yield the data of each server-sent event of a stream.

    Other lines are comments, which keep the connection alive.
    """
    # Of an unfinished line, which may come in pieces of a few bytes, only what is new is looked at.
    rest = bytearray()
    while isinstance(event := await connection.next_event(), h11.Data):
        first, *others = bytes(event.data).split(b"\n")
        rest += first
        if len(rest) > _MAX_LINE_BYTES:
            raise h11.RemoteProtocolError(f"a line of more than {_MAX_LINE_BYTES} bytes")
        if not others:
            continue
        lines = (bytes(rest), *others[:-1])
        rest = bytearray(others[-1])
        for line in lines:
            if line.startswith(_DATA):
                yield line[len(_DATA) :].strip()
