"""One client that takes all it can get: what it costs the daemon, and what is left for the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, cast

import grpc
import psutil
import pytest
from envoy.service.discovery.v3 import discovery_pb2
from grpc_health.v1 import health_pb2

from echoplane.v1 import diagnostics_pb2
from echoplaned.xds.names import ResourceType
from tests.e2e import e2e_system as e
from tests.hostile.raw_streams import DELTA, OPTIONS, SOTW, connection

Code = grpc.StatusCode
MIB = 1024 * 1024
STREAMS, NAMES = 20, 20_000
READ_S = 5.0
"""How long the streams that are not refused are given: names that do not exist have no answer that one could wait for."""
RETURNED_MIB = 24
"""What a daemon may keep of bursts of callers, in MiB: it was 30 to 50 after each, 160 after six, before free pages were handed back."""
WATCH_EVENTS = "/echoplane.v1.StatusService/WatchEvents"
HEALTH_WATCH = "/grpc.health.v1.Health/Watch"


@dataclass(frozen=True)
class Bare:
    """A daemon without an engine, and its resident memory before any attack, in MiB."""

    system: e.System
    rss_mib: float


@pytest.fixture(scope="module")
def attacked(bare: e.System) -> Bare:
    """Let each protocol's code be loaded before anything is measured."""
    for method in (SOTW, DELTA):
        with connection(bare.daemon.address) as start:
            stream = start(method)
            stream.send(subscription(method, STREAMS))
            stream.answer()
    return Bare(bare, rss_mib(bare))


@pytest.fixture(scope="module")
def bare(start_system: Any) -> Iterator[e.System]:
    """A daemon of this file's own, without an engine: nothing but callers can make it grow."""
    with ExitStack() as stack:
        yield start_system(stack, ("--standby-workers", "0", "--max-watchers", "200"))


def rss_mib(system: e.System) -> float:
    """Return the daemon's resident memory."""
    return psutil.Process(system.daemon.process.pid).memory_info().rss / MIB


def subscription(method: str, stream: int) -> bytes:
    """Return a request for names that nobody has published."""
    names = [f"models/made-up-{stream}-{number}" for number in range(NAMES)]
    kind = str(ResourceType.LISTENER)
    if method == DELTA:
        message = discovery_pb2.DeltaDiscoveryRequest(type_url=kind, resource_names_subscribe=names)
        return bytes(message.SerializeToString())
    return bytes(discovery_pb2.DiscoveryRequest(type_url=kind, resource_names=names).SerializeToString())


@pytest.mark.parametrize("method", [SOTW, DELTA], ids=["sotw", "delta"])
def test_names_that_do_not_exist_cost_little_and_go(
    attacked: Bare, method: str, record_property: Callable[[str, object], None]
) -> None:
    """Twenty streams with 20,000 made-up names each: most are refused, the daemon grows by little, and gives it back.

    What was there before is measured before all attacks: what each of them left would else be forgiven.
    """
    bare, before = attacked.system, attacked.rss_mib
    with connection(bare.daemon.address) as start:
        streams = [start(method) for _ in range(STREAMS)]
        for number, stream in enumerate(streams):
            stream.send(subscription(method, number))
        e.eventually(lambda: [s for s in streams if s.code], 30.0, "a refusal")
        e.pause(READ_S)
        refused = [s for s in streams if s.code]
        during = rss_mib(bare)
        assert {s.code for s in refused} == {Code.RESOURCE_EXHAUSTED}
        with connection(bare.daemon.address) as other:
            neighbour = other(SOTW)
            neighbour.send(discovery_pb2.DiscoveryRequest(type_url=str(ResourceType.LISTENER)).SerializeToString())
            neighbour.answer()
    e.eventually(lambda: bare.client.get_metrics().xds.stream_count == 0, 10.0, "no streams")
    e.pause(1.0)
    at_once = rss_mib(bare)
    e.eventually(lambda: rss_mib(bare) - before < RETURNED_MIB, 90.0, f"{at_once:.0f} MiB to go back near {before:.0f}")
    after = rss_mib(bare)
    print(f"rss_mib {method}: {before:.0f}, {during:.0f}, {at_once:.0f}, {after:.0f}")  # noqa: T201 - a figure
    record_property("rss_mib", [round(each) for each in (before, during, at_once, after)])
    record_property("refused", len(refused))
    assert during - before < 150


def test_watchers_are_shared(bare: e.System) -> None:
    """One connection asks for more than its share: half is left to the others, and health's Watch is counted apart."""
    request = diagnostics_pb2.WatchEventsRequest().SerializeToString()
    with ExitStack() as stack:

        def channel() -> grpc.Channel:
            return stack.enter_context(grpc.insecure_channel(bare.daemon.address, OPTIONS))

        def watch(on: grpc.Channel, method: str, body: bytes) -> Any:
            call = cast(Any, on).unary_stream(method)(body)
            stack.callback(call.cancel)
            call.initial_metadata()  # comes when the stream has begun, or with its refusal
            return call

        greedy, small = channel(), channel()
        calls = [watch(greedy, WATCH_EVENTS, request) for _ in range(150)]
        refused = e.eventually(lambda: [c for c in calls if c.done()], 10.0, "a refusal")
        assert {call.code() for call in refused} == {Code.RESOURCE_EXHAUSTED}
        assert len(calls) - len(refused) == 100
        others = [watch(small, WATCH_EVENTS, request)]
        others.append(watch(greedy, HEALTH_WATCH, health_pb2.HealthCheckRequest().SerializeToString()))
        assert next(others[1])
        assert not any(call.done() for call in others)
    assert bare.client.get_status().store_writable
