"""Garbage and hostile text at every door: the caller's mistake, one quiet line, and nobody else's trouble."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, cast

import grpc
import pytest
from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import discovery_pb2

from echoplane.channels import DIRECT_OPTIONS
from echoplane.v1 import models_pb2, rollouts_pb2
from echoplaned.xds.names import ResourceType
from tests.e2e import e2e_system as e
from tests.hostile.raw_streams import DELTA, LRS, SOTW, connection, load_report

Code = grpc.StatusCode
HOSTILE = "\x1b]0;owned\x07\x1b[2J\nlevel=error \u202egnp\x00"
LOAD = "/echoplane.v1.ModelService/LoadModel"


@pytest.fixture(scope="module")
def bare(start_system: Any) -> Iterator[e.System]:
    """A daemon of this file's own, without an engine."""
    with ExitStack() as stack:
        yield start_system(stack, ("--standby-workers", "0"))


def unclean(method: str) -> bytes:
    """Return a first message whose node cannot be shown."""
    if method == LRS:
        return load_report(HOSTILE, {})
    return bytes(discovery_pb2.DiscoveryRequest(node=base_pb2.Node(id=HOSTILE)).SerializeToString())


@pytest.mark.parametrize("method", [SOTW, DELTA, LRS], ids=["sotw", "delta", "lrs"])
def test_garbage_is_one_quiet_line(bare: e.System, method: str) -> None:
    """Bytes that are no message, and a node that cannot be shown, are INVALID_ARGUMENT and a line each, without a traceback."""
    messages = [b"\xff\xff\xff"]
    if method != DELTA:  # whose node has another number: there it is an unknown field of garbage
        messages.append(unclean(method))
    size = bare.daemon.log_path.stat().st_size
    with connection(bare.daemon.address) as start:
        for message in messages:
            stream = start(method)
            stream.send(message)
            assert stream.wait_ended() is Code.INVALID_ARGUMENT, stream.details
    time.sleep(0.5)
    with bare.daemon.log_path.open("rb") as log:
        log.seek(size)
        said = log.read()
    lines = [line for line in said.splitlines() if b"stream_refused" in line]
    assert len(lines) == len(messages)
    assert b"Traceback" not in said
    assert b"\x1b" not in said


@pytest.mark.parametrize("field", ["labels", "policy", "etag", "reason"])
def test_text_that_moves_a_terminal_is_refused(bare: e.System, field: str) -> None:
    """ESC, newlines, NUL and marks that turn text round are FIELD_INVALID where people's text is taken."""
    uri = bare.made.uri("encoder")
    calls = {
        "labels": lambda: bare.client.load_model(
            models_pb2.LoadModelRequest(model_id="m", source_uri=uri, labels={"a": HOSTILE})
        ),
        "policy": lambda: bare.update("m", "v2", "encoder", rollouts_pb2.RolloutPolicy(name=HOSTILE)),
        "etag": lambda: bare.update("m", "v2", "encoder", etag=HOSTILE),
        "reason": lambda: bare.client.promote_rollout("models/m/rollouts/r1", HOSTILE),
    }
    with e.refused("FIELD_INVALID", Code.INVALID_ARGUMENT) as caught:
        calls[field]()
    assert field in caught.value.failure.field_violations[0].field


def test_a_map_without_end_costs_its_caller_alone(
    bare: e.System, record_property: Callable[[str, object], None]
) -> None:
    """Twelve requests of 3 MB with 200,000 labels each are refused in milliseconds, beside a caller who notices nothing."""
    request = models_pb2.LoadModelRequest(model_id="m", source_uri="file:x")
    request.labels.update({f"K!{number}": "v" for number in range(200_000)})
    raw = request.SerializeToString()
    with grpc.insecure_channel(bare.daemon.address, DIRECT_OPTIONS) as channel:
        call = cast(Any, channel).unary_unary(LOAD)
        futures = [call.future(raw) for _ in range(12)]
        waits: list[float] = []
        while not all(future.done() for future in futures) or len(waits) < 20:
            began = time.monotonic()
            bare.client.get_status()
            waits.append(time.monotonic() - began)
        assert {future.code() for future in futures} == {Code.INVALID_ARGUMENT}
    record_property("slowest_neighbour_ms", round(max(waits) * 1000))
    assert max(waits) < 10.0  # on a busy machine; judging every entry took twelve times three seconds of an idle one


def test_names_with_hostile_text_end_their_stream_only(bare: e.System) -> None:
    """A name that could not be shown ends its stream; the next one is served."""
    with connection(bare.daemon.address) as start:
        kind = str(ResourceType.LISTENER)
        bad = start(SOTW)
        bad.send(discovery_pb2.DiscoveryRequest(type_url=kind, resource_names=[HOSTILE]).SerializeToString())
        assert bad.wait_ended() is Code.INVALID_ARGUMENT
        assert "\x1b" not in bad.details
        good = start(SOTW)
        good.send(discovery_pb2.DiscoveryRequest(type_url=kind).SerializeToString())
        assert good.answer()
