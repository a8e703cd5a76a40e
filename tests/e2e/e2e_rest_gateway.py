"""Calls of REST routes through a daemon's gateway, and what reads the answers."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What came back. ``headers``: by lower-case name."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.body)

    def detail(self, kind: str) -> Any:
        """Return the one error detail whose type ends so."""
        (found,) = (each for each in self.json["details"] if each["@type"].endswith(kind))
        return found

    @property
    def reason(self) -> str:
        """The reason of an error."""
        return str(self.detail("ErrorInfo")["reason"])

    @property
    def fields(self) -> set[str]:
        """The fields that an error names."""
        return {each["field"] for each in self.detail("BadRequest")["field_violations"]}


@dataclass(frozen=True)
class RestGateway:
    """A running gateway.

    Attributes:
        port: on the loopback interface.
        key: sent with every call; empty: none is.
    """

    port: int
    key: str = ""

    def call(self, verb: str, path: str, body: object = None, **headers: str) -> Answer:
        """Make one call on a connection of its own; a body that is no text is sent as JSON."""
        sent = {**self._key(), **{name.replace("_", "-"): value for name, value in headers.items()}}
        data = body if body is None or isinstance(body, (str, bytes)) else json.dumps(body)
        if data is not None:
            sent.setdefault("content-type", "application/json")
        with contextlib.closing(HTTPConnection("127.0.0.1", self.port, timeout=60.0)) as connection:
            connection.request(verb, path, data, sent)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    @contextlib.contextmanager
    def stream(self, path: str, **headers: str) -> Iterator[Iterator[str]]:
        """Open an event stream; yield its lines as they come."""
        sent = {**self._key(), **{name.replace("_", "-"): value for name, value in headers.items()}}
        with contextlib.closing(HTTPConnection("127.0.0.1", self.port, timeout=60.0)) as connection:
            connection.request("GET", path, headers=sent)
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            assert answer.headers["content-type"] == "text/event-stream"
            yield (line.decode().rstrip("\n") for line in iter(answer.readline, b""))

    def _key(self) -> dict[str, str]:
        return {"x-api-key": self.key} if self.key else {}
