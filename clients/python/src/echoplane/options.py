"""How a client calls: deadlines, retries, reconnects.

Time, chance and ids come in here, so that tests can hold them still.
"""

from __future__ import annotations

import os
import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeVar, cast
from urllib.parse import quote

from google.protobuf.message import Message

from echoplane.errors import EchoplaneError, UnavailableError

Request = TypeVar("Request", bound=Message)

DEFAULT_ADDRESS: Final = "127.0.0.1:8470"
# A stream that lived this long was a connection; the next failure begins a new outage.
_SETTLED_S: Final = 10.0


class _Repeatable(Protocol):
    """A request that may be sent again."""

    request_id: str


def new_request_id() -> str:
    """Return a fresh request id (AIP-155 asks for a UUID4)."""
    return str(uuid.uuid4())


def socket_target(path: Path) -> str:
    """Return what gRPC dials, or listens on, for a unix socket's path.

    It is a URI to gRPC: a ``%41`` in a path would be an ``A``, and a ``#`` or a ``?`` its end.
    """
    return f"unix:{quote(os.fsencode(path))}"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential back-off with full jitter for calls answered UNAVAILABLE.

    Attributes:
        max_attempts: attempts of one logical call, the first included.
        initial_s: longest wait after the first attempt, seconds.
        multiplier: factor from one longest wait to the next.
        max_s: bound of the longest wait, seconds; the daemon may ask for more.
    """

    max_attempts: int = 6
    initial_s: float = 0.1
    multiplier: float = 2.0
    max_s: float = 5.0

    def delay_s(self, attempt: int, draw: float, asked_s: float | None = None) -> float:
        """Return the wait after a failed attempt.

        Args:
            attempt: attempts that failed before this one.
            draw: a number from 0 to 1, drawn evenly.
            asked_s: the least wait that the daemon asked for (RetryInfo), in seconds.
        """
        delay = draw * min(self.max_s, self.initial_s * self.multiplier**attempt)
        return max(delay, asked_s or 0.0)


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """Options of a client.

    Attributes:
        timeout_s: longest time of one logical call, its retries included, seconds.
        reconnect_s: how long a watch or a wait outlives a silent daemon, seconds; clients are back about 150 s after a restart.
        poll_initial_s: first wait between two looks at an operation, seconds.
        poll_max_s: longest wait between two looks at an operation, seconds.
        retry: back-off of calls and of streams.
        clock: seconds of a clock that never goes back.
        sleep: what waits for a number of seconds; asyncio's clients use their loop instead.
        draw: numbers from 0 to 1, drawn evenly.
        new_id: fresh request ids.
    """

    timeout_s: float = 30.0
    reconnect_s: float = 180.0
    poll_initial_s: float = 0.05
    poll_max_s: float = 1.0
    retry: RetryPolicy = RetryPolicy()
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    draw: Callable[[], float] = random.random
    new_id: Callable[[], str] = new_request_id

    def retry_delay_s(self, error: EchoplaneError, attempt: int, deadline_s: float) -> float | None:
        """Return the wait before trying a failed call again, in seconds.

        None where it must not or cannot be tried in time.
        """
        if not isinstance(error, UnavailableError) or attempt + 1 >= self.retry.max_attempts:
            return None
        delay = self.retry.delay_s(attempt, self.draw(), error.failure.retry_delay_s)
        return delay if self.clock() + delay < deadline_s else None


class Outage:
    """Decides how long a stream or a wait goes on without an answer."""

    __slots__ = ("_attempt", "_opened_s", "_options", "_since_s")

    def __init__(self, options: ClientOptions) -> None:
        self._options = options
        self._attempt = 0
        self._opened_s: float | None = None
        self._since_s: float | None = None

    def on_stream(self) -> None:
        """Note that a stream is opened; how long a single call took says nothing."""
        self._opened_s = self._options.clock()

    def on_answer(self) -> None:
        """Note that something came back."""
        self._attempt = 0
        self._since_s = None

    def delay_s(self, error: EchoplaneError | None) -> float | None:
        """Return the wait before trying again, in seconds; None: it is time to give up.

        ``error`` None: the stream just ended.
        """
        now_s = self._options.clock()
        if error is not None and not isinstance(error, UnavailableError):
            return None
        if self._opened_s is not None and now_s - self._opened_s > _SETTLED_S:
            self.on_answer()
        if self._since_s is None:
            self._since_s = now_s
        if now_s - self._since_s > self._options.reconnect_s:
            return None
        asked_s = error.failure.retry_delay_s if error is not None else None
        delay = self._options.retry.delay_s(self._attempt, self._options.draw(), asked_s)
        self._attempt += 1
        return delay


def with_request_id(request: Request, new_id: Callable[[], str]) -> Request:
    """Return the request with a request id, where its type has one.

    One that the caller gave is kept; the caller's own message is not touched.
    """
    if "request_id" not in request.DESCRIPTOR.fields_by_name or cast(_Repeatable, request).request_id:
        return request
    copy = type(request)()
    copy.CopyFrom(request)
    cast(_Repeatable, copy).request_id = new_id()
    return copy
