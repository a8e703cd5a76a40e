"""When the gateway has the keys: once every stream that asked for them has accepted them, and no stranger is waited for."""

from __future__ import annotations

import asyncio
import time

import pytest

from echoplaned.ports.door_clients import DoorClient, DoorClients
from echoplaned.xds import publisher as publishing
from echoplaned.xds.door.names import KEYS, LIMITS
from echoplaned.xds.names import ResourceType
from echoplaned.xds.publisher import Connection, Publisher
from echoplaned.xds.resources import Resource
from echoplaned.xds.stream import StreamNode
from echoplaned.xds.stream_delta import DeltaRequest
from tests.xds.xds_harness import FakeClock, Recorder

EXTENSION = ResourceType.EXTENSION
LISTENER = Resource.unknown(ResourceType.LISTENER, "door", "1")
ONE = DoorClients((DoorClient("one", "ep_one_k"),), required=True)
OTHER = DoorClients((DoorClient("other", "ep_other_k"),), required=True)
NONE = DoorClients(required=True)


class Gateway:
    """An Envoy's stream that answers when the test says so."""

    def __init__(self, publisher: Publisher, listener: Resource | None = LISTENER) -> None:
        node = StreamNode("gateway", "envoy", api_listeners=False, listener=listener)
        self.connection: Connection = publisher.attach(node, lambda: None, delta=True)
        self.connection.receive(DeltaRequest(EXTENSION, subscribe=(KEYS, LIMITS)))

    def answer(self, error: str | None = None) -> None:
        """Take what is sent, and accept or refuse it."""
        assert self.connection.responses()
        nonce = self.connection.stream.subscriptions[EXTENSION].last_nonce
        self.connection.receive(DeltaRequest(EXTENSION, nonce=nonce, error=error))


@pytest.fixture
def publisher() -> Publisher:
    """Yield a publisher that is open."""
    found = Publisher(Recorder(), FakeClock())
    found.open({})
    return found


async def waits(publisher: Publisher) -> bool:
    """Return whether whoever changed the keys has to wait."""
    waiting = asyncio.create_task(publisher.wait_for_clients())
    await asyncio.sleep(0.01)
    waiting.cancel()
    return (await asyncio.gather(waiting, return_exceptions=True)) != [None]


async def test_nobody_is_waited_for_without_a_gateway(publisher: Publisher) -> None:
    """Neither without any stream nor for one that is served no keys, or asked for none."""
    assert not await waits(publisher)
    Gateway(publisher, None)
    publisher.attach(StreamNode("other", listener=LISTENER), lambda: None, delta=False)
    publisher.publish_clients(ONE)
    assert not await waits(publisher)


async def test_each_gateway_is_waited_for(publisher: Publisher) -> None:
    """Two of them, as during a hot restart: the change is in force when both have accepted the newest, or left."""
    first, second = Gateway(publisher), Gateway(publisher)
    publisher.publish_clients(ONE)
    assert await waits(publisher)
    first.answer()
    assert await waits(publisher)
    second.answer()
    assert not await waits(publisher)
    publisher.publish_clients(NONE)
    first.answer()
    publisher.publish_clients(OTHER)
    second.answer()
    assert await waits(publisher), "the first has accepted what is out of date by now"
    first.answer()
    assert not await waits(publisher)
    publisher.publish_clients(OTHER)
    assert not await waits(publisher), "they have it already"
    publisher.publish_clients(NONE)
    first.answer()
    second.connection.close()
    assert not await waits(publisher)


async def test_a_refusal_is_no_answer(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the gateway refuses, or says nothing, the caller is kept for a bounded time."""
    monkeypatch.setattr(publishing, "CLIENTS_TIMEOUT_S", 0.1)
    gateway = Gateway(publisher)
    publisher.publish_clients(ONE)
    gateway.answer(error="no")
    began = time.monotonic()
    await publisher.wait_for_clients()
    assert time.monotonic() - began >= 0.1


async def test_a_gateway_of_another_daemon_is_waited_for(publisher: Publisher) -> None:
    """It runs and has not come yet: until then it goes on with what it was told before, and a revoked key works there."""
    running = True
    publisher.expect_gateway(lambda: running)
    publisher.publish_clients(ONE)
    assert await waits(publisher)
    publisher.attach(StreamNode("gateway", listener=LISTENER), lambda: None, delta=True)
    assert await waits(publisher), "it has not asked for anything yet"
    Gateway(publisher).answer()
    assert not await waits(publisher)
    running = False
    publisher.publish_clients(OTHER)
    assert await waits(publisher), "one that is connected is waited for in any case"


async def test_no_gateway_is_waited_for_that_has_ended(publisher: Publisher) -> None:
    """Whatever takes its place is told when it comes."""
    publisher.expect_gateway(lambda: False)
    publisher.publish_clients(ONE)
    assert not await waits(publisher)
