"""Clients that follow a model's routes and never take them, however busily: they decide no rollout, and are named."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from envoy.service.discovery.v3 import discovery_pb2

from echoplaned.xds.names import ResourceType
from tests.e2e import e2e_system as e
from tests.hostile.raw_streams import DELTA, connection

MODEL = "followed"
NAME = f"models/{MODEL}"
NODE = "listens-only"
AGAIN_EVERY_S = 0.5


def _request(kind: ResourceType, nonce: str = "") -> bytes:
    """Ask for the model's resource of a type, anew, and accept what came before."""
    request = discovery_pb2.DeltaDiscoveryRequest(
        type_url=str(kind), resource_names_subscribe=[NAME], response_nonce=nonce
    )
    request.node.id = NODE
    return bytes(request.SerializeToString())


@contextmanager
def accepting_its_listener_again_and_again(address: str) -> Iterator[list[str]]:
    """Follow the model, never answer for its routes, and accept its listener twice a second; yield the accepted nonces."""
    done = threading.Event()
    accepted: list[str] = []
    with connection(address) as start:
        stream = start(DELTA)
        stream.send(_request(ResourceType.ROUTE))
        stream.answer()
        stream.send(_request(ResourceType.LISTENER))

        def go_on() -> None:
            while not done.wait(AGAIN_EVERY_S):
                try:
                    answer = discovery_pb2.DeltaDiscoveryResponse.FromString(stream.answer(1.0))
                except queue.Empty:
                    continue
                if answer.type_url == str(ResourceType.LISTENER):
                    accepted.append(answer.nonce)
                    stream.send(_request(ResourceType.LISTENER, answer.nonce))

        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            yield accepted
        finally:
            done.set()
            thread.join()


def test_who_takes_its_listener_alone_is_left_out(system: e.System) -> None:
    """It is stale after ack_timeout_s like a silent one, and named; the update comes through."""
    system.load(MODEL)
    try:
        with accepting_its_listener_again_and_again(system.daemon.address) as accepted:
            policy = e.fast_policy(stages_percent=(50, 100), ack_timeout_s=2.0, stage_max_s=30.0, soak_s=0.5)
            operation = system.update(MODEL, "v2", "better", policy)
            e.eventually(lambda: NODE in system.rollout(MODEL).stale_subscribers, 45.0, "it to be named")
            system.finish(operation)
            assert len(accepted) > 2
        assert system.rollout(MODEL).outcome == e.Outcome.ROLLOUT_OUTCOME_SUCCEEDED
    finally:
        system.delete(MODEL)
