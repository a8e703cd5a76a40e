"""Streams on the wire: what a hostile, a silent or a hasty client gets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import grpc
import grpc.aio
import pytest
import structlog
from envoy.config.endpoint.v3 import load_report_pb2
from envoy.service.discovery.v3 import discovery_pb2
from envoy.service.load_stats.v3 import lrs_pb2

from echoplane.channels import DIRECT_OPTIONS
from echoplaned.core.text import is_clean
from echoplaned.ports.door_clients import DoorClient, DoorClients
from echoplaned.xds import ads, lrs
from echoplaned.xds.door.names import KEYS, LIMITS, SCOPES
from echoplaned.xds.names import DOOR_ROUTES, GATEWAY, ResourceType
from echoplaned.xds.options import server_options
from echoplaned.xds.publisher import Publisher
from tests.xds import xds_harness as h
from tests.xds.xds_calls import METHODS, delta_call, node, raw_call, refused, sotw_call

CDS, EDS, LDS, ECDS, RDS = ResourceType
TOTAL = 1_000_000
ONE = h.routes("m", 1, v1=(TOTAL, ["127.0.0.1:7001"]))

ASKED = {"echoplane.gateway": {"address": "127.0.0.1", "port": 8080}}
"""What asked for the gateway's listener in earlier releases."""


def test_two_daemons_cannot_share_a_port() -> None:
    """The server's options switch port sharing off."""
    assert ("grpc.so_reuseport", 0) in server_options()


@pytest.fixture
async def plane() -> AsyncIterator[h.ControlPlane]:
    """A control plane that is not opened."""
    async with h.control_plane() as served:
        yield served


async def test_streams_wait_until_the_state_is_recovered(plane: h.ControlPlane) -> None:
    """A stream that comes before the recovered state is answered after it, with all of it."""
    async with grpc.aio.insecure_channel(plane.address, DIRECT_OPTIONS) as channel:
        call = sotw_call(channel)
        await call.write(discovery_pb2.DiscoveryRequest(type_url=str(CDS), node=node(id="early")))
        read = asyncio.ensure_future(call.read())
        done, _ = await asyncio.wait({read}, timeout=0.3)
        assert not done
        plane.publisher.open({"m": ONE})
        answer = await read
        assert len(answer.resources) == 1
        call.cancel()


async def test_delta_on_the_wire(plane: h.ControlPlane) -> None:
    """A raw delta stream subscribes, acknowledges, is sent only what changed, and is told what is gone."""
    plane.publisher.open({"m": h.routes("m", 1, v1=(TOTAL, ["127.0.0.1:7001"]), v2=(0, ["127.0.0.1:7002"]))})
    async with grpc.aio.insecure_channel(plane.address, DIRECT_OPTIONS) as channel:
        call = delta_call(channel)
        await call.write(discovery_pb2.DeltaDiscoveryRequest(type_url=str(CDS), node=node(id="d")))
        first = await call.read()
        assert {each.name for each in first.resources} == {"models/m/versions/v1", "models/m/versions/v2"}
        await call.write(discovery_pb2.DeltaDiscoveryRequest(type_url=str(CDS), response_nonce=first.nonce))
        plane.publisher.publish_model(h.routes("m", 2, v1=(TOTAL, ["127.0.0.1:7001"]), v3=(0, ["127.0.0.1:7003"])))
        second = await call.read()
        assert [each.name for each in second.resources] == ["models/m/versions/v3"]
        assert list(second.removed_resources) == ["models/m/versions/v2"]
        (view,) = plane.publisher.subscribers()
        assert (view.node, view.delta) == ("d", True)
        call.cancel()


@pytest.mark.parametrize("late", [False, True], ids=["first", "later"])
async def test_a_hostile_request_ends_its_stream_only(plane: h.ControlPlane, late: bool) -> None:
    """INVALID_ARGUMENT for too many names; the next stream is served, and nothing of the first is left."""
    plane.publisher.open({"m": ONE})
    bad = discovery_pb2.DiscoveryRequest(type_url=str(LDS), resource_names=["x" * 2000], node=node(id="bad"))
    async with grpc.aio.insecure_channel(plane.address, DIRECT_OPTIONS) as channel:
        call = sotw_call(channel)
        if late:
            await call.write(discovery_pb2.DiscoveryRequest(type_url=str(LDS), resource_names=["models/m"]))
            await call.read()
        await call.write(bad)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        good = sotw_call(channel)
        await good.write(discovery_pb2.DiscoveryRequest(type_url=str(LDS), resource_names=["models/m"]))
        assert len((await good.read()).resources) == 1
        assert plane.publisher.stats.streams_open == 1
        good.cancel()


@pytest.mark.parametrize("agent", ["envoy", "gRPC Python"])
async def test_nobody_gets_the_gateways_resources_on_the_public_port(plane: h.ControlPlane, agent: str) -> None:
    """A loopback client that calls itself Envoy, asks by name and sends metadata gets neither listener nor the gateway's own routes."""
    plane.publisher.open({"m": ONE})
    plane.publisher.publish_clients(DoorClients((DoorClient("id", "ep_id_code"),), required=True))
    async with grpc.aio.insecure_channel(plane.address, DIRECT_OPTIONS) as channel:
        call = sotw_call(channel)
        who = node(id="echoplane-gateway", user_agent_name=agent, metadata=ASKED)
        for kind, names in ((RDS, [DOOR_ROUTES]), (LDS, []), (LDS, [GATEWAY]), (ECDS, [KEYS, SCOPES, LIMITS])):
            await call.write(discovery_pb2.DiscoveryRequest(type_url=str(kind), resource_names=names, node=who))
        # What is answered after all of them: there was nothing to say of the first.
        await call.write(discovery_pb2.DiscoveryRequest(type_url=str(CDS), resource_names=["models/m/versions/v1"]))
        seen: list[Any] = []
        while not seen or seen[-1].type_url != str(CDS):
            seen.append(await call.read())
        told = {each.value for answer in seen for each in answer.resources if answer.type_url in (str(LDS), str(RDS))}
        assert not any(GATEWAY.encode() in value or DOOR_ROUTES.encode() in value for value in told)
        assert not any(answer.type_url in {str(RDS), str(ECDS)} for answer in seen)
        assert not any(b"ep_id_code" in answer.SerializeToString() for answer in seen)
        # Nor does it count as one that every model's rollout waits for.
        assert not plane.observer.lines or not any(line.startswith("subscribers m") for line in plane.observer.lines)


async def test_nobody_gets_keys_by_delta_either(plane: h.ControlPlane) -> None:
    """Who asks for the keys by the delta protocol is told that there are none."""
    plane.publisher.open({"m": ONE})
    plane.publisher.publish_clients(DoorClients((DoorClient("id", "ep_id_code"),), required=True))
    async with grpc.aio.insecure_channel(plane.address, DIRECT_OPTIONS) as channel:
        call = delta_call(channel)
        who = node(id="echoplane-gateway", user_agent_name="envoy", metadata=ASKED)
        request = discovery_pb2.DeltaDiscoveryRequest(type_url=str(ECDS), resource_names_subscribe=[KEYS], node=who)
        await call.write(request)
        answer = await call.read()
        assert (list(answer.resources), list(answer.removed_resources)) == ([], [KEYS])
        call.cancel()


async def test_a_silent_stream_is_ended() -> None:
    """Who opens a stream and says nothing is let go."""
    publisher = Publisher(h.Recorder(), h.FakeClock())
    publisher.open({})
    service = ads.AdsService(publisher, ads.AdsOptions(first_request_timeout_s=0.1))
    server = grpc.aio.server(options=server_options())
    server.add_generic_rpc_handlers((service.handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", DIRECT_OPTIONS) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await sotw_call(channel).read()
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await server.stop(0)


async def test_who_is_steered_by_the_routes_alone() -> None:
    """A client that dials a version by itself is not steered by the routes alone, nor is another one with its id; gateways are."""
    async with h.control_plane() as plane:
        plane.publisher.open({"m": ONE})
        channel = grpc.aio.insecure_channel(plane.address, DIRECT_OPTIONS)
        wanted = {"a": ["models/m"], "b": ["models/m", "models/m/versions/v1"], "c": ["models/n"], "d": ["models/m"]}
        calls = []
        for name, names in (*wanted.items(), ("d", ["models/m/versions/v1"])):
            calls.append(sotw_call(channel))
            request = discovery_pb2.DiscoveryRequest(type_url=str(LDS), resource_names=names, node=node(id=name))
            await calls[-1].write(request)
        calls.append(sotw_call(channel))
        gateway = discovery_pb2.DiscoveryRequest(type_url=str(RDS), resource_names=[GATEWAY], node=node(id="gateway"))
        await calls[-1].write(gateway)
        for call in calls[:2] + calls[3:]:
            await call.read()
        await plane.observer.until(lambda: len(plane.publisher.subscribers()) == 6)
        assert {each.node for each in plane.publisher.route_only_clients("m")} == {"a", "gateway"}
        assert {each.node for each in plane.publisher.route_only_clients("n")} == {"c"}
        assert {each.node for each in plane.publisher.version_clients("m")} == {"b", "d"}
        for call in calls:
            call.cancel()
        await channel.close(None)


async def test_closing_ends_every_stream_at_once() -> None:
    """ADS and LRS streams end with UNAVAILABLE when the services close, so that a stopping server need not wait."""
    async with h.control_plane() as plane:
        plane.publisher.open({"m": ONE})
        channel = grpc.aio.insecure_channel(plane.address, DIRECT_OPTIONS)
        call = sotw_call(channel)
        await call.write(discovery_pb2.DiscoveryRequest(type_url=str(LDS), resource_names=["models/m"]))
        await call.read()
        report = cast(Any, channel).stream_stream(
            f"/{lrs.SERVICE}/StreamLoadStats",
            request_serializer=lrs_pb2.LoadStatsRequest.SerializeToString,
            response_deserializer=lrs_pb2.LoadStatsResponse.FromString,
        )()
        await report.write(lrs_pb2.LoadStatsRequest(node=node(id="a")))
        asked: Any = await report.read()
        assert (asked.send_all_clusters, asked.load_reporting_interval.seconds) == (True, 1)
    for each in (call, report):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await each.read()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert caught.value.details() == "the server is stopping"
    await channel.close(None)
    assert plane.observer.lines[-1] == "subscribers m 0"
    assert plane.observer.load_streams_ended == [("a", 1)]


CROWDED = lrs_pb2.LoadStatsRequest(cluster_stats=[load_report_pb2.ClusterStats()] * (lrs.MAX_CLUSTERS + 1))


def garbage(what: str, method: str) -> bytes:
    """Return what no client should send."""
    if what == "no message":
        return b"\xff\xff\xff"
    unclean = node(id="\x1b[31m")
    if method == METHODS[0]:
        return discovery_pb2.DiscoveryRequest(node=unclean).SerializeToString()
    return lrs_pb2.LoadStatsRequest(node=unclean).SerializeToString()  # a delta request's node is field 1 too


@pytest.mark.parametrize("what", ["no message", "an unclean id"])
@pytest.mark.parametrize("method", METHODS)
async def test_garbage_is_the_callers_mistake_and_one_line(
    plane: h.ControlPlane, method: str, what: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Bytes that are no request are INVALID_ARGUMENT; the log has one line of it without a traceback, and nothing stays."""
    plane.publisher.open({"m": ONE})
    options = (*DIRECT_OPTIONS, ("grpc.max_send_message_length", -1))
    async with grpc.aio.insecure_channel(plane.address, options) as channel:
        with structlog.testing.capture_logs() as lines:
            call = raw_call(channel, method)
            await call.write(garbage(what, method))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.read()
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert len(lines) == 1
        assert is_clean(lines[0]["problem"])
        assert "Traceback" not in capfd.readouterr().err
        assert plane.publisher.stats.streams_open == 0


async def test_a_load_report_with_too_much_in_it(plane: h.ControlPlane) -> None:
    """Clusters are counted before one of them is read."""
    plane.publisher.open({"m": ONE})
    async with grpc.aio.insecure_channel(plane.address, DIRECT_OPTIONS) as channel:
        call = raw_call(channel, METHODS[2])
        await call.write(CROWDED.SerializeToString())
        assert await refused(call) is grpc.StatusCode.INVALID_ARGUMENT
        assert plane.observer.load_reports == 0
