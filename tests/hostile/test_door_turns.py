"""Through the gateway one caller's requests do not take the others' turns at an engine.

All of them come to the engine on the gateway's own connections. Before it told who calls, an honest request by gRPC had no answer in 12 s
beside 300 long ones of one caller.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import grpc
import pytest

from echoplane.channels import DIRECT_OPTIONS
from echoplane.inference import grpc_service_pb2_grpc as oip_grpc
from tests.hostile import hostile_door as d
from tests.hostile.attack import text_request

pytestmark = [pytest.mark.system, pytest.mark.timeout(400)]

OPTIONS = (*DIRECT_OPTIONS, ("grpc.use_local_subchannel_pool", 1))
AT_ONCE = 300
HONEST_S = 8.0
"""For one token: those that are in the batch are not taken out of it, and a text of 200 takes some seconds beside others."""


@pytest.fixture(scope="module")
def door() -> Iterator[d.DoorTarget]:
    """Run a daemon with a gateway, and a model that generates."""
    with d.door_target() as target:
        request = d.chatting()
        request.context_length = 250
        d.load(target, request)
        yield target


@contextmanager
def flood(door: d.DoorTarget) -> Iterator[None]:
    """Have one connection with as many long generations under way as it likes; whatever ends is sent again."""
    stop = threading.Event()
    with grpc.insecure_channel(door.listening, OPTIONS) as channel:
        stub: Any = oip_grpc.GRPCInferenceServiceStub(channel)
        request = text_request(d.CHATTING, "hi", max_tokens=200)

        def again(_: object = None) -> None:
            if not stop.is_set():
                stub.ModelInfer.future(request, timeout=120.0).add_done_callback(again)

        for _ in range(AT_ONCE):
            again()
        try:
            yield
        finally:
            stop.set()


def answer_s(door: d.DoorTarget) -> float:
    """Ask for one token on a connection of one's own; return the seconds that it took."""
    with grpc.insecure_channel(door.listening, OPTIONS) as channel:
        began = time.monotonic()
        stub = oip_grpc.GRPCInferenceServiceStub(channel)
        cast(Any, stub).ModelInfer(text_request(d.CHATTING, "hi", max_tokens=1), timeout=60.0)
        return time.monotonic() - began


def test_one_caller_of_the_gateway_starves_nobody(door: d.DoorTarget) -> None:
    """Beside 300 long generations of one connection, another's single token comes in its turn, by gRPC and by HTTP."""
    alone_s = answer_s(door)
    with flood(door):
        time.sleep(4.0)
        by_grpc = [answer_s(door) for _ in range(3)]
        began = time.monotonic()
        assert door.chat(d.CHATTING).status == 200
        by_http = time.monotonic() - began
    print(f"alone {alone_s:.2f} s, by gRPC {max(by_grpc):.2f} s at most, by HTTP {by_http:.2f} s")  # noqa: T201 - the figures
    assert max(*by_grpc, by_http) < HONEST_S, (by_grpc, by_http)
