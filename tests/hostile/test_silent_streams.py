"""Streams that send one large message and then are silent: nothing is kept of it but what it asked for.

Before, each kept the bytes and what they were parsed to for as long as it lived: 20 streams of subscriptions 430 MiB, five of load
reports 240, and a list of one name 20,000 times 23 MiB a stream, with one name counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from envoy.service.discovery.v3 import discovery_pb2
from envoy.service.load_stats.v3 import lrs_pb2

from echoplaned.xds.names import ResourceType
from tests.e2e import e2e_system as e
from tests.hostile.attack import serving_record, text_request
from tests.hostile.own_memory import own_bytes
from tests.hostile.raw_streams import LRS, SOTW, RawStream, connection

STREAMS = 20
GROWN_MIB = 50
"""What is free in the heap and has not gone back yet is among it; each attack took 79 to 774."""
INFER = "/inference.GRPCInferenceService/ModelStreamInfer"
Start = Callable[[str], RawStream]


def subscription(*names: str, kind: str = ResourceType.LISTENER) -> bytes:
    """Return a request for resources."""
    request = discovery_pb2.DiscoveryRequest(type_url=str(kind), resource_names=names)
    return bytes(request.SerializeToString())


def long_of_no_type(start: Start) -> RawStream:
    """Send 4 MB of a type that nobody serves, then a subscription."""
    stream = start(SOTW)
    stream.send(subscription(*["x" * 200] * 19_000, kind="nobody's"))
    stream.send(subscription())
    stream.answer()
    return stream


def one_name_again_and_again(start: Start) -> RawStream:
    """Ask for one name of 180 characters 20,000 times."""
    stream = start(SOTW)
    stream.send(subscription(*["models/" + "x" * 173] * 20_000))
    stream.send(subscription(kind=ResourceType.CLUSTER))
    stream.answer()
    return stream


def long_report(start: Start) -> RawStream:
    """Report drops of a million categories without a name, then nothing new."""
    stream = start(LRS)
    report = lrs_pb2.LoadStatsRequest()
    report.cluster_stats.add(cluster_name="m")
    # An empty dropped_requests, again and again, behind the cluster's own name; lengths are varints.
    dropped = report.cluster_stats[0].SerializeToString() + b"\x2a\x00" * 900_000
    stream.send(b"\x12" + varint(len(dropped)) + dropped)
    stream.send(b"")
    stream.answer()
    return stream


def varint(number: int) -> bytes:
    """Return a number as protobuf writes it."""
    septets = [number >> shift & 0x7F for shift in range(0, number.bit_length(), 7)]
    return bytes([septet | 0x80 for septet in septets[:-1]] + septets[-1:])


@pytest.fixture(scope="module")
def bare(start_system: Any) -> Iterator[e.System]:
    """A daemon of this file's own, without an engine."""
    with ExitStack() as stack:
        yield start_system(stack, ("--standby-workers", "0"))


@pytest.mark.parametrize("attack", [long_of_no_type, one_name_again_and_again, long_report])
def test_a_silent_subscriber_keeps_nothing(bare: e.System, attack: Callable[[Start], RawStream]) -> None:
    """Twenty of them, after what they sent has been read; the daemon grows by little."""
    assert bare.daemon.process is not None
    pid = bare.daemon.process.pid
    with connection(bare.daemon.address) as start:
        attack(start)
        e.pause(1.0)
        before = own_bytes(pid)
        streams = [attack(start) for _ in range(STREAMS)]
        e.pause(2.0)
        grown_mib = (own_bytes(pid) - before) / 2**20
        assert not [stream.code for stream in streams if stream.code]
    print(f"{attack.__name__}: {grown_mib:.0f} MiB of {STREAMS} streams")  # noqa: T201 - a figure
    assert grown_mib < GROWN_MIB


def test_a_silent_stream_of_requests_keeps_nothing(own_system: e.MakeSystem) -> None:
    """The same at an engine, whose streams of requests may be silent for ten minutes."""
    system = own_system("--standby-workers", "1")
    system.load("silent")
    worker = serving_record(system.daemon.state_dir)
    request = text_request("nobody", "x" * 3_900_000).SerializeToString()

    def ask(start: Start) -> RawStream:
        stream = start(INFER)
        stream.send(request)
        assert b"nobody" in stream.answer(30.0)
        return stream

    with connection(worker.address) as start:
        ask(start)
        before = own_bytes(worker.pid)
        streams = [ask(start) for _ in range(STREAMS)]
        grown_mib = (own_bytes(worker.pid) - before) / 2**20
        assert not [stream.code for stream in streams if stream.code]
    print(f"engine: {grown_mib:.0f} MiB of {STREAMS} streams")  # noqa: T201 - a figure
    assert grown_mib < GROWN_MIB
