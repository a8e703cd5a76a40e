"""The gateway and the engines without their daemon, which was killed: callers notice nothing, and the next daemon goes on with both."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from echoplane.v1 import types_pb2
from tests.e2e import e2e_system as e
from tests.e2e.e2e_gateway import gateway_system
from tests.gateway.gateway_stage import ask

pytestmark = [pytest.mark.system, pytest.mark.soak, pytest.mark.timeout(1800)]

MODEL = "embed"
PAUSE_S = 0.05
AWAY_S = float(os.environ.get("ECHOPLANE_AWAY_S", "600"))
"""How long the daemon is away, in seconds."""


def embed(listening: str, model: str) -> tuple[int, str]:
    """Ask through the gateway; return the status and the version."""
    answer = ask(listening, "POST", "/v1/embeddings", {"model": model, "input": "The river"})
    return answer.status, answer.headers.get("x-model-version", "")


@contextmanager
def calls_all_the_time(listening: str) -> Iterator[Counter[tuple[int, str]]]:
    """Ask some twenty times a second meanwhile; count what came."""
    heard: Counter[tuple[int, str]] = Counter()
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            heard[embed(listening, MODEL)] += 1
            over.wait(PAUSE_S)

    caller = threading.Thread(target=run)
    caller.start()
    try:
        yield heard
    finally:
        over.set()
        caller.join()


def test_callers_notice_nothing() -> None:
    """No request fails while it is away nor when it comes back; it finds the same Envoy and the same engine, and leads both on."""
    with gateway_system() as (system, listening):
        daemon, client = system.daemon, system.client
        system.load(MODEL)
        (envoy,), before = daemon.gateways(), client.get_version(f"models/{MODEL}/versions/v1").instances
        with calls_all_the_time(listening) as heard:
            e.pause(1.0)
            daemon.kill()
            e.pause(AWAY_S)
            daemon.start(300.0)
            assert e.eventually(
                lambda: client.get_health(MODEL).state == types_pb2.HEALTH_STATE_SERVING, 60.0, "health"
            )
            system.load("other")  # a route that is new
            assert embed(listening, "other") == (200, "v1")
        assert daemon.gateways() == [envoy]
        after = client.get_version(f"models/{MODEL}/versions/v1").instances
        assert [each.pid for each in after] == [each.pid for each in before]
        assert set(heard) == {(200, "v1")}, heard
        assert heard.total() > AWAY_S
