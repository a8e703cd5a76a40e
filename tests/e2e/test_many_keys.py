"""A thousand keys with the real daemon and Envoy: how soon one more is in force, and one that is revoked no more."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from echoplane import AsyncClient
from echoplane.v1 import keys_pb2
from echoplaned.testing.daemon import DaemonProcess, free_port
from tests.e2e import e2e_system as e
from tests.e2e.e2e_keys import KeyedDoor

# A thousand calls of CreateKey take minutes on a busy machine; one key's changes are timed in ``test_keys``.
pytestmark = [pytest.mark.system, pytest.mark.soak, pytest.mark.timeout(600)]

KEYS = 1_000
AT_ONCE = 8
CHANGES = 5
CALLERS = 2
SOON_S = 1.0
"""Within which a change is in force; the best of a few has to be, as the machine does other things."""

SURELY_S = 10.0
"""Every one has to be by then, on whatever machine."""


async def make_keys(socket: str) -> list[str]:
    """Make the keys by the asyncio client, each with models and a limit; return them in the order in which they are listed."""
    turn = asyncio.Semaphore(AT_ONCE)
    async with AsyncClient(socket) as client:

        async def make(number: int) -> keys_pb2.CreateKeyResponse:
            models = [f"m{number % 7}", f"m{number % 11}x"]
            request = keys_pb2.CreateKeyRequest(models=models, requests_per_minute=100_000, display_name=f"k{number}")
            async with turn:
                return await client.create_key(request, 300.0)

        made = await asyncio.gather(*map(make, range(KEYS)))
        secrets = {each.key.name: each.secret for each in made}
        listed = [each.name async for each in client.list_keys()]
    assert set(listed) == set(secrets)
    assert len(listed) == KEYS
    return [secrets[name] for name in listed]


@pytest.fixture(scope="module")
def door() -> Iterator[KeyedDoor]:
    """Run a daemon whose gateway asks for keys; no model is needed to be let in or refused."""
    listening = f"127.0.0.1:{free_port()}"
    gateway = ("--gateway-listen", listening, "--gateway-concurrency", "1", "--gateway-keys", "required")
    with tempfile.TemporaryDirectory(prefix="ep-") as folder:
        root = Path(folder).resolve()
        daemon = DaemonProcess(root / "state", (root,), ("--standby-workers", "0", *gateway))
        try:
            daemon.start(300.0)
            yield KeyedDoor(daemon, listening)
        finally:
            daemon.clean()


def status(door: KeyedDoor, key: str) -> int:
    """Ask the daemon through the gateway with a key."""
    with contextlib.suppress(OSError):
        return door.http("GET", "/v1/models", key).status
    return 0


@contextlib.contextmanager
def called_by(door: KeyedDoor, keys: list[str]) -> Iterator[list[int]]:
    """Let some callers ask with all of the keys in turn meanwhile; yield the statuses of their answers."""
    stop, found = threading.Event(), list[int]()
    turns = itertools.cycle(keys)

    def ask() -> None:
        while not stop.is_set():
            found.append(status(door, next(turns)))

    callers = [threading.Thread(target=ask) for _ in range(CALLERS)]
    for each in callers:
        each.start()
    try:
        yield found
    finally:
        stop.set()
        for each in callers:
            each.join()


def seconds_until(door: KeyedDoor, key: str, expected: int, began_s: float) -> float:
    """Return the seconds since then until a key is answered with a status."""
    e.eventually(lambda: status(door, key) == expected, SURELY_S, f"{expected} by the key", 0.002)
    return time.monotonic() - began_s


def test_a_change_counts_at_once_among_a_thousand(door: KeyedDoor, capsys: pytest.CaptureFixture[str]) -> None:
    """From the call that makes or revokes a key to the first answer that heeds it, while others are used all the time."""
    keys = asyncio.run(make_keys(door.socket))
    for each in (keys[0], keys[-1]):
        seconds_until(door, each, 200, time.monotonic())
    made, revoked = [], []
    with called_by(door, keys) as statuses:
        for limit in (0, 100_000, 0, 100_000, 50)[:CHANGES]:
            began = time.monotonic()
            key = door.make(requests_per_minute=limit)
            made.append(seconds_until(door, key, 200, began))
            began = time.monotonic()
            door.revoke(key)
            revoked.append(seconds_until(door, key, 401, began))
        e.eventually(lambda: len(statuses) >= 100, 60.0, "a hundred answers of the others")
    assert set(statuses) == {200}, "nobody else noticed"
    figures = {"made": [round(each, 3) for each in made], "revoked": [round(each, 3) for each in revoked]}
    with capsys.disabled():
        print(f"\nseconds until a change counts among {KEYS} keys: {figures}")  # noqa: T201 - the figures are shown
    assert min(made) < SOON_S, figures
    assert min(revoked) < SOON_S, figures


def test_a_thousand_outlive_the_daemon(door: KeyedDoor) -> None:
    """The next daemon derives them all again, and a change counts as soon as before."""
    assert door.daemon.stop() == 0
    door.daemon.start(300.0)
    key = door.make()
    seconds_until(door, key, 200, time.monotonic())
    began = time.monotonic()
    door.revoke(key)
    assert seconds_until(door, key, 401, began) < SURELY_S
