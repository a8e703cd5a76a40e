"""A flood of changes from one connection: the others' changes, and what engines tell, do not wait for it.

Before commands were given in turn, an honest change waited 20 s beside 1,000 of one connection, and the death of an engine was seen
after 24 s beside 3,000.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from echoplane import Client
from echoplane.channels import DIRECT_OPTIONS
from echoplane.v1 import models_pb2, models_pb2_grpc
from tests.e2e import e2e_system as e

pytestmark = [pytest.mark.system, pytest.mark.timeout(400)]

FLOOD = 1500
HONEST_S = 6.0
"""An honest change beside the flood, on a busy machine; alone it takes some 10 ms."""

SEEN_S = 10.0
"""The bar for an engine that is gone: not READY any more."""


@contextmanager
def flood(address: str, model: str) -> Iterator[list[grpc.StatusCode]]:
    """Have one connection change labels again and again, as many at once as it likes; yield how its calls ended."""
    stop, ended = threading.Event(), list[grpc.StatusCode]()
    with grpc.insecure_channel(address, (*DIRECT_OPTIONS, ("grpc.use_local_subchannel_pool", 1))) as channel:
        stub: Any = models_pb2_grpc.ModelServiceStub(channel)
        slots = threading.Semaphore(FLOOD)

        def over(call: Any) -> None:
            ended.append(call.code())
            slots.release()

        def send() -> None:
            number = 0
            while not stop.is_set():
                slots.acquire()
                number += 1
                labels = {f"k{index}": str(number) for index in range(60)}
                request = models_pb2.ConfigureModelRequest(name=f"models/{model}", labels=labels)
                request.update_mask.paths.append("labels")
                stub.ConfigureModel.future(request, timeout=60.0).add_done_callback(over)

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        try:
            yield ended
        finally:
            stop.set()
            slots.release()
            sender.join(30.0)


def change(client: Client, model: str) -> float:
    """Change a label; return the seconds that it took."""
    began = time.monotonic()
    request = models_pb2.ConfigureModelRequest(name=f"models/{model}", labels={"a": str(began)})
    request.update_mask.paths.append("labels")
    client.configure_model(request, timeout_s=60.0)
    return time.monotonic() - began


def is_ready(client: Client, version: str) -> bool:
    """Whether an instance of a version is said to be ready."""
    shown = client.get_version(version)
    return any(each.state == models_pb2.INSTANCE_STATE_READY for each in shown.instances)


def test_others_change_and_engines_are_heard(own_system: e.MakeSystem) -> None:
    """An honest change is done in its time, and an engine that dies beside the flood is not said to be ready for long."""
    system = own_system("--standby-workers", "1")
    system.load("busy")
    system.load("honest")
    (instance,) = system.client.get_version("honest/v1").instances
    with flood(system.daemon.address, "busy") as ended:
        e.pause(3.0)
        took = [change(system.client, "honest") for _ in range(5)]
        os.kill(instance.pid, signal.SIGKILL)
        began = time.monotonic()
        e.eventually(lambda: not is_ready(system.client, "honest/v1"), SEEN_S, "the death to be seen")
        seen_s = time.monotonic() - began
        e.eventually(lambda: is_ready(system.client, "honest/v1"), e.LOAD_S, "another engine")
    assert max(took) < HONEST_S, took
    assert grpc.StatusCode.RESOURCE_EXHAUSTED in ended, "who has 500 commands waiting is told to wait"
    print(f"honest changes {max(took):.2f} s at most, the death seen after {seen_s:.2f} s")  # noqa: T201 - the figures
