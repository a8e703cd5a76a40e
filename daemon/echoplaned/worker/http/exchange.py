"""Reads one HTTP request and writes its answer, over ASGI.

https://asgi.readthedocs.io/en/latest/specs/www.html has the messages.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Final

from echoplaned.core.budgets import Budget, BudgetExceededError
from echoplaned.core.door_headers import caller_of
from echoplaned.core.numbers import read_whole
from echoplaned.worker.http.problems import Api, Problem, RefusedError

MAX_BODY_BYTES: Final = 16 * 1024 * 1024
MAX_BODY_S: Final = 30.0
"""Longest time in which a body must have come, in seconds."""

MAX_WRITE_S: Final = 60.0
"""Longest time that one write waits for a caller who does not read, in seconds; the answer is cut then."""


Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]


class CallerGoneError(Exception):
    """The caller has left, or does not read."""


class Exchange:
    """One request and its answer.

    Args:
        scope: the request's line and headers.
        receive: gives the body, then says that the caller has left.
        send: takes the answer.
        common: headers of every answer.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, common: Callable[[], Headers]) -> None:
        self._receive = receive
        self._send = send
        self._common = common
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        client = scope.get("client")
        # Of a header that comes twice the first counts.
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])}
        # On this socket none but the gateway calls, on connections that its callers share.
        self.peer: str = caller_of(lambda name: self.headers.get(name, "")) or (client[0] if client else "")
        self.has_begun = False
        self.has_ended = False

    async def read_body(self, limit_bytes: int, budget: Budget) -> bytes:
        """Return the body.

        Raises:
            RefusedError: it is too large, compressed, or does not come in time.
            CallerGoneError: the caller has left meanwhile.
        """
        self._check_head(limit_bytes)
        held = 0
        try:
            async with asyncio.timeout(MAX_BODY_S):
                chunks: list[bytes] = []
                while True:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise CallerGoneError
                    chunk = message.get("body", b"")
                    if held + len(chunk) > limit_bytes:
                        raise RefusedError(_too_large(limit_bytes))
                    budget.acquire(self.peer, len(chunk))
                    held += len(chunk)
                    chunks.append(chunk)
                    if not message.get("more_body", False):
                        return b"".join(chunks)
        except TimeoutError:
            raise RefusedError(Problem(408, f"the body did not come within {MAX_BODY_S:g} s")) from None
        except BudgetExceededError as refused:
            raise RefusedError(Problem(429, str(refused))) from None
        finally:
            budget.release(self.peer, held)

    def _check_head(self, limit_bytes: int) -> None:
        """Refuse by the headers what need not be read."""
        encoding = self.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise RefusedError(Problem(415, f"bodies are taken as they are, not in content-encoding {encoding[:64]!r}"))
        length = read_whole(self.headers.get("content-length", ""))
        if length is not None and length > limit_bytes:
            raise RefusedError(_too_large(limit_bytes))

    async def wait_until_gone(self) -> None:
        """Return when the caller has left, or has its whole answer.

        Call it only after the body was read.
        """
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def answer(self, status: int, body: bytes, content_type: str, headers: Headers | None = None) -> None:
        """Answer at once."""
        length = [(b"content-length", str(len(body)).encode())]
        await self._begin(status, content_type, [*length, *(headers or [])])
        await self._write(body, more=False)

    async def answer_pieces(self, pieces: Sequence[bytes], content_type: str, headers: Headers | None = None) -> None:
        """Answer with a body in pieces.

        Each is sent when the caller has read of those before it.

        Raises:
            CallerGoneError: the caller does not read.
        """
        length = [(b"content-length", str(sum(map(len, pieces))).encode())]
        await self._begin(200, content_type, [*length, *(headers or [])])
        await self._write(*pieces, more=False)

    async def answer_json(self, status: int, value: object, headers: Headers | None = None) -> None:
        """Answer with JSON."""
        await self.answer(status, to_json(value), "application/json", headers)

    async def refuse(self, problem: Problem, api: Api) -> None:
        """Answer with an error.

        A body that was not read is not worth reading, so the connection ends then.
        """
        unread = [(b"connection", b"close")] if problem.status in {408, 413, 415} else []
        await self.answer_json(problem.status, problem.body(api), [*problem.headers, *unread])

    async def begin_stream(self) -> None:
        """Begin a stream of server-sent events."""
        await self._begin(200, "text/event-stream; charset=utf-8", [(b"cache-control", b"no-cache")])

    async def write(self, data: bytes) -> None:
        """Send a part of a stream.

        Raises:
            CallerGoneError: the caller does not read.
        """
        await self._write(data, more=True)

    async def end_stream(self, data: bytes = b"") -> None:
        """Send the last part of a stream."""
        await self._write(data, more=False)

    async def _begin(self, status: int, content_type: str, headers: Headers) -> None:
        self.has_begun = True
        named = [(b"content-type", content_type.encode()), *headers]
        # A header that the answer has itself is not said again.
        own = {name for name, _ in named}
        common = [(name, value) for name, value in self._common() if name not in own]
        await self._send({"type": "http.response.start", "status": status, "headers": [*named, *common]})

    async def _write(self, *pieces: bytes, more: bool) -> None:
        last = len(pieces) - 1
        try:
            async with asyncio.timeout(MAX_WRITE_S):
                for index, piece in enumerate(pieces):
                    follows = more or index < last
                    self.has_ended = not follows
                    await self._send({"type": "http.response.body", "body": piece, "more_body": follows})
        except TimeoutError:
            raise CallerGoneError from None


def to_json(value: object) -> bytes:
    """Write JSON as short as it can be.

    Half a character is written as ``?``: an error that quotes one must not fail itself.
    """
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode(errors="replace")


def _too_large(limit_bytes: int) -> Problem:
    return Problem(413, f"the body is larger than {limit_bytes} bytes, which is more than this version can take")
