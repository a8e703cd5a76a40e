"""A value of one client in a batch with others: it fails its own request."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from echoplane.inference import grpc_service_pb2 as oip
from tests.e2e import e2e_system as e
from tests.hostile.attack import call, dial, serving_record, text_request

CODE = grpc.StatusCode
CALLERS = 20
REQUESTS = 100
EVERY = 10
"""Of so many requests one is hostile."""

VALUES = (1e-300, 5e-324, float("nan"), float("inf"), -1.0, 1e300)


def is_hostile(number: int) -> bool:
    """Whether a request is one of those."""
    return number % EVERY == 0


def request(number: int) -> oip.ModelInferRequest:
    """Return a request of one batch: some have a temperature that nobody can draw with."""
    value = VALUES[number // EVERY % len(VALUES)] if is_hostile(number) else 0.8
    return text_request("rows", f"The river {number}", max_tokens=4, temperature=value)


@pytest.mark.timeout(300)
def test_a_clients_value_fails_its_own_request(system: e.System) -> None:
    """Of 100 requests that meet in batches, the ten with a bad temperature are their callers' errors, and all others are answered."""
    system.load("rows", source="speaking")
    record = serving_record(system.daemon.state_dir)
    with dial(record.address) as stub, ThreadPoolExecutor(CALLERS) as threads:
        ended = list(threads.map(lambda number: call(stub, request(number)), range(REQUESTS)))
    innocent = [one.code for number, one in enumerate(ended) if not is_hostile(number)]
    hostile = [one.code for number, one in enumerate(ended) if is_hostile(number)]
    assert (len(innocent), set(innocent)) == (90, {CODE.OK})
    assert set(hostile) == {CODE.INVALID_ARGUMENT}
    assert serving_record(system.daemon.state_dir) == record
    system.delete("rows")
