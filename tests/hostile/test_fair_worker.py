"""One connection with a thousand calls at a worker: the others are answered as soon as their turn comes."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import grpc
import pytest

from echoplane.inference import grpc_service_pb2_grpc as oip_grpc
from tests.e2e import e2e_system as e
from tests.hostile.attack import call, dial, serving_record, text_request
from tests.hostile.raw_streams import OPTIONS

CODE = grpc.StatusCode
MODEL = "shared"
FIRST_TURNS = 16
"""The same for the first honest call, which may come while the flood is still being taken in: that costs each call 0.2 ms or more."""

BUSY = 400
"""Calls that a busy client has open on one connection at a time: three times as many as have a turn."""

MANY = 4000
CALLS = 1000
HONEST = 10
TURNS = 4
"""Answers to the flood that may come during an honest call: the one under way, one whose turn came first, and those on their way to us.

Behind all that waited before it there were some 250, or the call was refused.
"""


class Flood:
    """A thousand calls at once on one connection, and how they ended so far."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._ended: Counter[grpc.StatusCode] = Counter()
        self._lock = threading.Lock()
        stub = oip_grpc.GRPCInferenceServiceStub(channel)
        request = text_request(MODEL, "The river", max_tokens=16)
        for _ in range(CALLS):
            # A call is a future; its stub does not say so.
            cast(Any, stub.ModelInfer).future(request, timeout=300.0).add_done_callback(self._count)

    def _count(self, ended: Any) -> None:
        with self._lock:
            self._ended[ended.code()] += 1

    @property
    def ended(self) -> Counter[grpc.StatusCode]:
        """How many ended with which code."""
        with self._lock:
            return Counter(self._ended)


@pytest.mark.timeout(420)
def test_one_connection_starves_nobody(system: e.System, record_property: Callable[[str, object], None]) -> None:
    """A thousand calls of one connection at once: each honest call is answered in its turn, and none of the thousand was refused."""
    system.load(MODEL, source="speaking", max_concurrency=1)
    record = serving_record(system.daemon.state_dir)
    with dial(record.address) as honest, grpc.insecure_channel(record.address, OPTIONS) as channel:
        assert call(honest, text_request(MODEL, "The sea", max_tokens=1)).code is CODE.OK
        flood = Flood(channel)
        e.eventually(lambda: flood.ended[CODE.OK], 60.0, "the first answer to the flood")
        turns, took_s, codes = [], [], set()
        for number in range(HONEST):
            before, began_s = flood.ended[CODE.OK], time.monotonic()
            codes.add(call(honest, text_request(MODEL, f"The sea {number}", max_tokens=1)).code)
            took_s.append(time.monotonic() - began_s)
            turns.append(flood.ended[CODE.OK] - before)
        ended = flood.ended  # the rest is cancelled with its connection
    print(f"turns {turns}, ms {[round(1000 * s) for s in took_s]}, flood {ended}")  # noqa: T201 - a figure
    record_property("turns", turns)
    assert codes == {CODE.OK}
    assert max(turns[1:]) <= TURNS, turns
    assert turns[0] <= FIRST_TURNS, turns
    assert set(ended) == {CODE.OK}
    assert ended.total() < CALLS // 2, "the flood was over before the honest calls were"
    assert serving_record(system.daemon.state_dir) == record
    system.delete(MODEL)


@pytest.mark.timeout(300)
def test_more_calls_than_turns_are_all_answered(system: e.System) -> None:
    """A client that keeps 400 calls open on one connection for thousands of calls gets an answer to each."""
    system.load(MODEL)
    record = serving_record(system.daemon.state_dir)
    open_calls, ended, lock = threading.Semaphore(BUSY), Counter[grpc.StatusCode](), threading.Lock()

    def count(call: Any) -> None:
        with lock:
            ended[call.code()] += 1
        open_calls.release()

    with grpc.insecure_channel(record.address, OPTIONS) as channel:
        send = cast(Any, oip_grpc.GRPCInferenceServiceStub(channel).ModelInfer)
        for number in range(MANY):
            assert open_calls.acquire(timeout=60.0)
            send.future(text_request(MODEL, f"The sea {number % 10}"), timeout=120.0).add_done_callback(count)
        e.eventually(lambda: ended.total() == MANY, 120.0, "the last answer")
    assert ended == {CODE.OK: MANY}
    system.delete(MODEL)
