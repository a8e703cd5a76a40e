"""The edges: requests and reports as values, responses as bytes, and what a hostile or hasty client gets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import grpc
import grpc.aio
import pytest
import structlog
from envoy.config.core.v3 import base_pb2
from envoy.config.endpoint.v3 import load_report_pb2
from envoy.service.discovery.v3 import discovery_pb2
from envoy.service.load_stats.v3 import lrs_pb2
from google.protobuf import json_format

from echoplane.channels import DIRECT_OPTIONS
from echoplaned.core.budgets import SMALL_SHARE
from echoplaned.core.ids import VersionKey
from echoplaned.core.text import is_clean
from echoplaned.ports.door_clients import DoorClient, DoorClients
from echoplaned.ports.request_counts import CountedBy, RequestCounts
from echoplaned.ports.traffic import Reporter
from echoplaned.xds import ads, lrs
from echoplaned.xds import snapshot as snapshots
from echoplaned.xds.budgets import XdsBudgets
from echoplaned.xds.door.listener import DoorOptions, build_door_listener
from echoplaned.xds.door.names import KEYS, LIMITS, SCOPES
from echoplaned.xds.names import DOOR_ROUTES, GATEWAY, ResourceType, parse_name
from echoplaned.xds.observer import LoadReport
from echoplaned.xds.options import server_options
from echoplaned.xds.publisher import Publisher
from echoplaned.xds.requests import (
    MAX_NAMES,
    MAX_REQUEST_BYTES,
    BadRequestError,
    parse,
    read_delta,
    read_node,
    read_sotw,
)
from echoplaned.xds.stream import StreamNode
from echoplaned.xds.stream_delta import DeltaRequest
from echoplaned.xds.stream_sotw import SotwRequest
from echoplaned.xds.subscriptions import Push
from echoplaned.xds.wire import Encoder
from tests.xds import xds_harness as h

CDS, EDS, LDS, ECDS, RDS = ResourceType
TOTAL = 1_000_000
ONE = h.routes("m", 1, v1=(TOTAL, ["127.0.0.1:7001"]))


def node(**fields: Any) -> base_pb2.Node:
    """Make a node."""
    return json_format.ParseDict(fields, base_pb2.Node())


ASKED = {"echoplane.gateway": {"address": "127.0.0.1", "port": 8080}}
"""What asked for the gateway's listener in earlier releases."""


def test_who_asks() -> None:
    """A node goes by its id, else by its address; Envoy takes no API listeners; nobody is served a listener for what it says."""
    assert read_node(node(), "ipv4:1.2.3.4:5").id == "ipv4:1.2.3.4:5"
    assert read_node(node(id="a", user_agent_name="gRPC Python"), "p").api_listeners
    assert not read_node(node(id="a", user_agent_name="envoy"), "p").api_listeners
    assert read_node(node(id="a", user_agent_name="envoy", metadata=ASKED), "p").listener is None


def test_everybody_on_the_gateways_socket_is_the_gateway() -> None:
    """Its listener goes with the socket, whatever the node says."""
    door = build_door_listener(DoorOptions("127.0.0.1", 8080))
    found = read_node(node(id="a"), "unix:", door)
    assert found.listener is door
    assert not found.api_listeners


def test_requests_are_read_as_they_are() -> None:
    """An error says NACK, whatever the version; types of others are none of ours."""
    message = discovery_pb2.DiscoveryRequest(type_url=str(CDS), resource_names=["a"], response_nonce="3")
    assert read_sotw(message) == SotwRequest(CDS, ("a",), "3", None)
    message.error_detail.SetInParent()
    assert read_sotw(message) == SotwRequest(CDS, ("a",), "3", "refused without a reason")
    assert read_sotw(discovery_pb2.DiscoveryRequest(type_url="type.googleapis.com/other")) is None
    delta = discovery_pb2.DeltaDiscoveryRequest(
        type_url=str(EDS),
        resource_names_subscribe=["a"],
        resource_names_unsubscribe=["b"],
        initial_resource_versions={"a": "1"},
    )
    assert read_delta(delta) == DeltaRequest(EDS, ("a",), ("b",), {"a": "1"}, "", None)


UNCLEAN = ["a\nb", "\x1b[2J", "\x00", "a\u202eb", "\x9b", "\ufeff"]


@pytest.mark.parametrize(
    "names", [["x"] * (MAX_NAMES + 1), ["x" * 2000], [""], ["a b"], ["größe"], *([name] for name in UNCLEAN)]
)
def test_requests_have_limits(names: list[str]) -> None:
    """Too many names, too long a name, or one that is none, end the stream."""
    with pytest.raises(BadRequestError):
        read_sotw(discovery_pb2.DiscoveryRequest(type_url=str(CDS), resource_names=names))
    with pytest.raises(BadRequestError):
        read_delta(discovery_pb2.DeltaDiscoveryRequest(type_url=str(CDS), resource_names_subscribe=names))


@pytest.mark.parametrize("text", UNCLEAN)
def test_what_a_client_calls_itself_can_be_shown(text: str) -> None:
    """An id or agent with what cannot be seen is refused; the detail of a refusal, which has lines, is escaped."""
    for fields in ({"id": text}, {"id": "a", "user_agent_name": text}):
        with pytest.raises(BadRequestError):
            read_node(node(**fields), "p")
    message = discovery_pb2.DiscoveryRequest(type_url=str(CDS))
    message.error_detail.message = f"bad:{text}"
    request = read_sotw(message)
    assert request is not None
    assert request.error is not None
    assert is_clean(request.error)
    assert request.error.startswith("bad:")


def test_names_of_others_are_only_kept() -> None:
    """What can be no model's name is a name all the same: the client has other control planes too, and its stream goes on."""
    others = ["models/UPPER", "xdstp://a/b?c=d", "grpc/server?udpa.resource.listening_address=0.0.0.0:1", "x"]
    request = read_sotw(discovery_pb2.DiscoveryRequest(type_url=str(LDS), resource_names=others))
    assert request is not None
    assert request.names == tuple(others)
    assert all(parse_name(name) is None for name in [*others, "models/a/versions", "models/a/versions/", "models//x"])


def test_bodies_that_one_client_made_up_are_not_remembered() -> None:
    """A response to thousands of unknown names is encoded and forgotten: its like comes from nobody else."""
    encoder = Encoder()
    for number in range(50):
        removed = tuple(f"made-up-{number}-{index}" for index in range(1000))
        encoder.encode(Push(CDS, "1", (), removed, {}), delta=True)
    assert encoder._bodies == {}
    encoder.encode(Push(CDS, "1", (), ("gone",), {}), delta=True)
    assert len(encoder._bodies) == 1


def test_a_nonce_follows_a_body_that_is_made_once() -> None:
    """Two streams get the same body with their own nonces, and both read as whole messages."""
    resource = snapshots.build({"m": ONE}).get(CDS, "models/m/versions/v1")
    assert resource is not None
    encoder = Encoder()
    for nonce in ("1", "22"):
        push = Push(CDS, nonce, (resource,), ("gone",), {})
        sotw = discovery_pb2.DiscoveryResponse.FromString(encoder.encode(push, delta=False))
        assert (sotw.nonce, sotw.version_info, sotw.type_url) == (nonce, resource.version, str(CDS))
        assert sotw.resources[0].value == resource.payload
        delta = discovery_pb2.DeltaDiscoveryResponse.FromString(encoder.encode(push, delta=True))
        assert (delta.nonce, list(delta.removed_resources)) == (nonce, ["gone"])
        assert (delta.resources[0].name, delta.resources[0].version) == (resource.name, resource.version)
        assert delta.resources[0].resource.value == resource.payload
    with pytest.raises(ValueError, match="nonce"):
        encoder.encode(Push(CDS, "9" * 200, (resource,), (), {}), delta=False)


def test_load_is_added_up_by_version() -> None:
    """Localities add up; others' clusters and clusters without requests are left out; the interval is the client's."""
    locality = load_report_pb2.UpstreamLocalityStats(
        total_successful_requests=5, total_error_requests=2, total_issued_requests=8, total_requests_in_progress=1
    )
    stats = [
        load_report_pb2.ClusterStats(cluster_name="models/m/versions/v1", upstream_locality_stats=[locality, locality]),
        load_report_pb2.ClusterStats(cluster_name="models/m/versions/v2"),
        load_report_pb2.ClusterStats(cluster_name="models/m", upstream_locality_stats=[locality]),
        load_report_pb2.ClusterStats(cluster_name="control", upstream_locality_stats=[locality]),
    ]
    stats[0].load_report_interval.FromMilliseconds(1500)
    counts = RequestCounts(ok=10, server_errors=4, arrivals=16, in_flight=2, origin=CountedBy.LRS)
    expected = LoadReport(VersionKey("m", "v1"), Reporter("n", 7), counts, 1.5)
    assert list(lrs.read_reports(stats, Reporter("n", 7), 9.0)) == [expected]
    stats[0].ClearField("load_report_interval")
    assert next(lrs.read_reports(stats, Reporter("n", 7), 9.0)).interval_s == 9.0


def test_the_publisher_is_closed_until_it_is_opened() -> None:
    """No publication and no stream before the recovered state; a bad one leaves it closed."""
    publisher = Publisher(h.Recorder(), h.FakeClock())
    with pytest.raises(RuntimeError):
        publisher.publish_model(ONE)
    with pytest.raises(RuntimeError):
        publisher.attach(StreamNode("a"), lambda: None, delta=False)
    with pytest.raises(snapshots.SnapshotInconsistentError):
        publisher.open({"m": h.routes("m", 1, v1=(5, []))})
    with pytest.raises(RuntimeError):
        publisher.publish({})
    publisher.open({})
    publisher.publish_model(ONE)
    assert publisher.snapshot.epoch_of("m") == 1


def test_a_bad_publication_changes_nothing() -> None:
    """What is inconsistent is refused as a whole; the snapshot stays."""
    publisher = Publisher(h.Recorder(), h.FakeClock())
    publisher.open({"m": ONE})
    before = publisher.snapshot
    with pytest.raises(snapshots.SnapshotInconsistentError):
        publisher.publish({"m": ONE, "n": h.routes("n", 1, v1=(5, []))})
    assert publisher.snapshot is before


def test_the_whole_state_can_be_published_at_once() -> None:
    """Models that are left out go; those that are as before are not told again."""
    observer = h.Recorder()
    publisher = Publisher(observer, h.FakeClock())
    publisher.open({"m": ONE, "n": h.routes("n", 1, v1=(TOTAL, []))})
    observer.lines.clear()
    publisher.publish({"m": ONE, "o": h.routes("o", 2, v1=(TOTAL, []))})
    assert observer.lines == ["acknowledged o e2 0/0"]
    assert set(publisher.snapshot.models) == {"m", "o"}


def test_the_wrong_kind_of_request_is_an_error() -> None:
    """A delta request on a state-of-the-world stream is a mistake of the caller."""
    publisher = Publisher(h.Recorder(), h.FakeClock())
    publisher.open({})
    connection = publisher.attach(StreamNode("a"), lambda: None, delta=False)
    with pytest.raises(TypeError):
        connection.receive(DeltaRequest(CDS))


def test_two_daemons_cannot_share_a_port() -> None:
    """The server's options switch port sharing off."""
    assert ("grpc.so_reuseport", 0) in server_options()


def sotw_call(channel: grpc.aio.Channel) -> Any:
    """Open a raw state-of-the-world stream."""
    return cast(Any, channel).stream_stream(
        f"/{ads.SERVICE}/StreamAggregatedResources",
        request_serializer=discovery_pb2.DiscoveryRequest.SerializeToString,
        response_deserializer=discovery_pb2.DiscoveryResponse.FromString,
    )()


def delta_call(channel: grpc.aio.Channel) -> Any:
    """Open a raw delta stream."""
    return cast(Any, channel).stream_stream(
        f"/{ads.SERVICE}/DeltaAggregatedResources",
        request_serializer=discovery_pb2.DeltaDiscoveryRequest.SerializeToString,
        response_deserializer=discovery_pb2.DeltaDiscoveryResponse.FromString,
    )()


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


def test_bytes_are_counted_before_they_are_parsed() -> None:
    """A request that is larger than any honest one is refused by its length alone."""
    with pytest.raises(BadRequestError, match="bytes"):
        parse(b"\xff" * (MAX_REQUEST_BYTES + 1), discovery_pb2.DiscoveryRequest.FromString)


def raw_call(channel: grpc.aio.Channel, method: str) -> Any:
    """Open a stream of bytes."""
    return cast(Any, channel).stream_stream(method)()


METHODS = [
    f"/{ads.SERVICE}/StreamAggregatedResources",
    f"/{ads.SERVICE}/DeltaAggregatedResources",
    f"/{lrs.SERVICE}/StreamLoadStats",
]
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


@contextlib.asynccontextmanager
async def served(budgets: XdsBudgets) -> AsyncIterator[tuple[Publisher, str]]:
    """Serve ADS and LRS within these budgets."""
    publisher = Publisher(h.Recorder(), h.FakeClock())
    publisher.open({"m": ONE})
    server = grpc.aio.server(options=server_options())
    reports = lrs.LoadReportService(h.Recorder(), h.FakeClock(), budgets)
    server.add_generic_rpc_handlers((ads.AdsService(publisher, None, budgets).handler(), reports.handler()))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield publisher, f"127.0.0.1:{port}"
    await server.stop(0)


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(20.0):
        while not condition():
            await asyncio.sleep(0.01)


async def refused(call: Any) -> grpc.StatusCode:
    """Return how a stream that is refused ends."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _read_on(call)
    return caught.value.code()


async def _read_on(call: Any) -> None:
    while await call.read() is not cast(Any, grpc.aio).EOF:
        pass


OWN = (*DIRECT_OPTIONS, ("grpc.use_local_subchannel_pool", 1))


async def test_a_connection_has_a_share_of_the_streams() -> None:
    """Who opens stream after stream is refused at its share; another connection's first streams are served, and all comes back."""
    budgets = XdsBudgets(streams=80)
    hello = discovery_pb2.DiscoveryRequest(type_url=str(LDS), resource_names=["models/m"], node=node(id="a"))
    async with served(budgets) as (publisher, address):
        async with grpc.aio.insecure_channel(address, OWN) as greedy, grpc.aio.insecure_channel(address, OWN) as small:
            calls = []
            for _ in range(20):
                calls.append(sotw_call(greedy))
                await calls[-1].write(hello)
                assert len((await calls[-1].read()).resources) == 1
            assert await refused(sotw_call(greedy)) is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert await refused_report(greedy, budgets) is grpc.StatusCode.RESOURCE_EXHAUSTED
            other = sotw_call(small)
            await other.write(hello)
            assert len((await other.read()).resources) == 1
            for call in (*calls, other):
                call.cancel()
        await eventually(lambda: publisher.stats.streams_open == 0)
    assert (budgets.ads_streams.used, budgets.lrs_streams.used, budgets.names.used) == (0, 0, 0)


async def refused_report(channel: grpc.aio.Channel, budgets: XdsBudgets) -> grpc.StatusCode:
    """Open streams of load reports up to the share, and return how the next one ends."""
    calls = []
    for _ in range(budgets.lrs_streams.share):
        calls.append(raw_call(channel, METHODS[2]))
        await calls[-1].write(lrs_pb2.LoadStatsRequest(node=node(id="a")).SerializeToString())
        await calls[-1].read()
    code = await refused(raw_call(channel, METHODS[2]))
    for call in calls:
        call.cancel()
    return code


@pytest.mark.parametrize("delta", [False, True], ids=["sotw", "delta"])
async def test_a_connection_has_a_share_of_the_names(*, delta: bool) -> None:
    """Names count over all streams of a connection: what is beyond its share is refused, and with its streams they are given back."""
    budgets = XdsBudgets(names=1000)

    def hello(start: int, count: int) -> Any:
        names = [f"models/made-up-{number}" for number in range(start, start + count)]
        if delta:
            return discovery_pb2.DeltaDiscoveryRequest(type_url=str(LDS), resource_names_subscribe=names)
        return discovery_pb2.DiscoveryRequest(type_url=str(LDS), resource_names=names)

    open_call = delta_call if delta else sotw_call
    async with served(budgets) as (publisher, address):
        async with grpc.aio.insecure_channel(address, OWN) as greedy, grpc.aio.insecure_channel(address, OWN) as small:
            first, second, other = open_call(greedy), open_call(greedy), open_call(small)
            await first.write(hello(0, 150))
            await first.read()
            await second.write(hello(0, 51))
            assert await refused(second) is grpc.StatusCode.RESOURCE_EXHAUSTED
            await other.write(hello(0, SMALL_SHARE))
            await other.read()
            assert budgets.names.used == 150 + SMALL_SHARE
            assert publisher._tracker._tracks.keys() == {"m"}
            for call in (first, other):
                call.cancel()
        await eventually(lambda: publisher.stats.streams_open == 0)
    assert budgets.names.used == 0


async def test_a_model_is_followed_from_when_it_is_published() -> None:
    """A name that nobody has published costs its stream a name; once published, the stream is a follower like any other."""
    observer = h.Recorder()
    publisher = Publisher(observer, h.FakeClock())
    publisher.open({})
    connection = publisher.attach(StreamNode("early"), lambda: None, delta=False)
    connection.receive(SotwRequest(LDS, ("models/m", "models/other")))
    assert publisher._tracker._tracks == {}
    publisher.publish_model(ONE)
    assert "subscribers m 1" in observer.lines
    publisher.remove_model("m")
    assert publisher._tracker._tracks == {}
    publisher.publish_model(ONE)
    assert [each.models for each in publisher.subscribers()] == [("m",)]
    connection.close()
    assert publisher._tracker._followed == {}


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
