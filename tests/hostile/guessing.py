"""A caller that guesses keys at a steady rate, on connections that stay open."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Self

CONNECTIONS = 8
PAUSE_S = 0.02
REFUSED = b"HTTP/1.1 401 "


def wrong_key(number: int) -> str:
    """Return a key of the right form that nobody made."""
    return f"ep_{number:012}_{'B' * 43}"


@dataclass
class Guesser:
    """Sends requests with wrong keys while the block runs.

    Attributes:
        listening: the gateway's address.
        rate: requests a second, all connections together.
        sent: requests that were sent.
        refused: answers 401.
            seconds: how long it went on.
    """

    listening: str
    rate: int
    sent: int = 0
    refused: int = 0
    seconds: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _threads: list[threading.Thread] = field(default_factory=list)
    _began: float = 0.0

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._threads = [threading.Thread(target=self._guess, args=(index,)) for index in range(CONNECTIONS)]
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self.seconds = time.monotonic() - self._began
        for each in self._threads:
            each.join()

    def _guess(self, index: int) -> None:
        host, _, port = self.listening.rpartition(":")
        with contextlib.closing(socket.create_connection((host, int(port)), timeout=30.0)) as connection:
            number = 0
            while not self._stop.is_set():
                # Those that are due by now, so that a slow machine has the same rate in larger portions. One after another:
                # Envoy answers two requests of a pipeline with refusals, and lets the rest wait.
                due = int((time.monotonic() - self._began) * self.rate / CONNECTIONS)
                while number < due and not self._stop.is_set():
                    connection.sendall(_request(index * 10**9 + number))
                    self._note(_answer(connection))
                    number += 1
                self._stop.wait(PAUSE_S)

    def _note(self, found: bytes) -> None:
        with self._lock:
            self.sent += 1
            self.refused += found.startswith(REFUSED)


def _request(number: int) -> bytes:
    """Write one that a key would be needed for."""
    lines = ["GET /v1/models HTTP/1.1", "host: door", f"authorization: Bearer {wrong_key(number)}", "", ""]
    return "\r\n".join(lines).encode()


def _answer(connection: socket.socket) -> bytes:
    """Read an answer, which ends with a JSON object within an object."""
    found = b""
    while b"}}" not in found:
        piece = connection.recv(1 << 16)
        if not piece:
            break
        found += piece
    return found
