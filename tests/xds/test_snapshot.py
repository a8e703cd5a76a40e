"""Routes become resources that are checked as a whole, serialised once, and the same in every process."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.route.v3 import route_pb2
from hypothesis import given
from hypothesis import strategies as st

from echoplaned.core.names import model_name, version_name
from echoplaned.core.routes_view import ClusterView, ModelRoutes, RouteEndpoint
from echoplaned.xds import snapshot as snapshots
from echoplaned.xds.names import GATEWAY, TABLES, ResourceType, Target, parse_name
from echoplaned.xds.resources import Resource
from echoplaned.xds.snapshot import Snapshot, SnapshotInconsistentError
from tests.xds import xds_harness as h

CDS, EDS, LDS, ECDS, RDS = ResourceType
TOTAL = 1_000_000
TWO = h.routes("m", 3, v1=(950_000, ["127.0.0.1:7001"]), v2=(50_000, ["127.0.0.1:7002", "127.0.0.1:7003"]))


def routes_of(*clusters: ClusterView, model: str = "m") -> ModelRoutes:
    """Make routes of clusters."""
    return ModelRoutes(model, 1, clusters)


def cluster(version: str, weight: int, *addresses: str, routed: bool = True) -> ClusterView:
    """Make a cluster."""
    return ClusterView(version, weight, tuple(RouteEndpoint(each) for each in addresses), routed=routed)


def test_a_model_has_listeners_routes_clusters_and_endpoints() -> None:
    """Each version has all four under its own name; the model has a listener and a route that weighs the versions."""
    snapshot = snapshots.build({"m": TWO})
    names = {kind: set(snapshot.by_type[kind]) for kind in ResourceType}
    versions = {"models/m/versions/v1", "models/m/versions/v2"}
    assert names == {
        CDS: versions,
        EDS: versions,
        LDS: versions | {"models/m"},
        RDS: versions | {"models/m", *TABLES},
        ECDS: set(),
    }
    route = snapshot.get(RDS, "models/m")
    assert route is not None
    assert route.clusters == tuple(sorted(versions))
    config = route_pb2.RouteConfiguration.FromString(route.payload)
    weights = config.virtual_hosts[0].routes[0].route.weighted_clusters.clusters
    assert {each.name: each.weight.value for each in weights} == {
        "models/m/versions/v1": 950_000,
        "models/m/versions/v2": 50_000,
    }


def test_traps_of_the_clients_are_in_the_resources() -> None:
    """Locality and weights for gRPC; HTTP/2, no panic mode and high limits for Envoy; load reports to this server."""
    snapshot = snapshots.build({"m": replace(TWO, clusters=(*TWO.clusters, cluster("v3", 0, routed=False)))})
    found, endpoints = snapshot.get(CDS, "models/m/versions/v2"), snapshot.get(EDS, "models/m/versions/v2")
    assert found is not None
    assert endpoints is not None
    config = cluster_pb2.Cluster.FromString(found.payload)
    assert config.lrs_server.HasField("self")
    assert config.eds_cluster_config.eds_config.HasField("ads")
    assert "envoy.extensions.upstreams.http.v3.HttpProtocolOptions" in config.typed_extension_protocol_options
    assert config.common_lb_config.HasField("healthy_panic_threshold")
    assert config.circuit_breakers.thresholds[0].max_requests.value > 100_000
    (locality,) = endpoint_pb2.ClusterLoadAssignment.FromString(endpoints.payload).endpoints
    assert locality.HasField("locality")
    assert locality.load_balancing_weight.value > 0
    assert len(locality.lb_endpoints) == 2
    empty = snapshot.get(EDS, "models/m/versions/v3")
    assert empty is not None
    assert not endpoint_pb2.ClusterLoadAssignment.FromString(empty.payload).endpoints


def test_unhealthy_endpoints_are_said_to_be_so() -> None:
    """An endpoint that is not healthy is told with that status, not left out."""
    view = ClusterView("v1", TOTAL, (RouteEndpoint("127.0.0.1:7001", healthy=False),), routed=True)
    found = snapshots.build({"m": routes_of(view)}).get(EDS, "models/m/versions/v1")
    assert found is not None
    (member,) = endpoint_pb2.ClusterLoadAssignment.FromString(found.payload).endpoints[0].lb_endpoints
    assert member.health_status == 2


def test_a_cluster_without_weight_is_not_in_the_route() -> None:
    """Weight 0 and not routed are the same: there, but not in the model's route; a model without any has no listener."""
    snapshot = snapshots.build({"m": routes_of(cluster("v1", TOTAL), cluster("v2", 0), cluster("v3", 7, routed=False))})
    route = snapshot.get(RDS, "models/m")
    assert route is not None
    assert route.clusters == ("models/m/versions/v1",)
    assert set(snapshot.by_type[CDS]) == {f"models/m/versions/v{n}" for n in (1, 2, 3)}
    assert snapshots.build({"m": routes_of(cluster("v1", 0))}).get(LDS, "models/m") is None


def test_what_did_not_change_stays_the_same_object() -> None:
    """A change of weight makes one new route and a new gateway table, nothing else; the diff says so."""
    old = snapshots.build({"m": TWO, "n": h.routes("n", 1, v1=(TOTAL, ["127.0.0.1:7101"]))})
    moved = h.routes("m", 4, v1=(850_000, ["127.0.0.1:7001"]), v2=(150_000, ["127.0.0.1:7002", "127.0.0.1:7003"]))
    new = snapshots.with_model(old, moved)
    assert snapshots.diff(old, new).changed == {
        CDS: frozenset(),
        EDS: frozenset(),
        LDS: frozenset(),
        RDS: frozenset({"models/m", *TABLES}),
        ECDS: frozenset(),
    }
    assert new.get(CDS, "models/m/versions/v1") is old.get(CDS, "models/m/versions/v1")
    route, table = new.get(RDS, "models/m"), new.get(RDS, GATEWAY)
    assert route is not None
    assert table is not None
    assert route.parts["m"].epoch == 4
    assert {model: part.epoch for model, part in table.parts.items()} == {"m": 4, "n": 1}


def test_removal_is_in_the_diff() -> None:
    """Names that are gone are changed names."""
    old = snapshots.build({"m": TWO})
    gone = snapshots.diff(old, snapshots.build({}, old)).changed
    assert gone[LDS] == {"models/m", "models/m/versions/v1", "models/m/versions/v2"}
    assert not snapshots.diff(old, old)


def test_versions_are_the_same_in_another_process() -> None:
    """A restart serves the identical snapshot: versions are digests of deterministic bytes, whatever the order."""
    script = (
        "from echoplaned.core.routes_view import ClusterView, ModelRoutes, RouteEndpoint\n"
        "from echoplaned.xds.snapshot import build\n"
        f"print(build({{'m': {replace(TWO, clusters=TWO.clusters[::-1])!r}}}).version())\n"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == snapshots.build({"m": TWO}).version()


@pytest.mark.parametrize(
    ("routes", "says"),
    [
        (routes_of(cluster("v1", 999_999)), "add up to 999999"),
        (routes_of(cluster("v1", 600_000), cluster("v2", 600_000)), "add up to 1200000"),
        (routes_of(cluster("v1", -1), cluster("v2", TOTAL)), "negative"),
        (routes_of(cluster("v1", TOTAL), cluster("v1", 0)), "twice"),
        (routes_of(cluster("v1", TOTAL, "127.0.0.1:1", "127.0.0.1:1")), "twice"),
        (routes_of(cluster("v1", TOTAL, "localhost:1")), "IP:port"),
        (routes_of(cluster("v1", TOTAL, "127.0.0.1:0")), "IP:port"),
        (routes_of(cluster("v1", TOTAL, "127.0.0.1:65536")), "IP:port"),
        (routes_of(cluster("v1", TOTAL, "127.0.0.1")), "IP:port"),
        (routes_of(cluster("v1", TOTAL, "::1:80")), "IP:port"),
        (routes_of(cluster("a/b", TOTAL)), "no version"),
        (routes_of(cluster("*", TOTAL)), "no version"),
        (routes_of(cluster("v1", TOTAL), model="n"), "published as"),
    ],
)
def test_inconsistent_routes_are_refused(routes: ModelRoutes, says: str) -> None:
    """What no client could follow is never published."""
    with pytest.raises(SnapshotInconsistentError, match=says):
        snapshots.build({"m": routes})


def test_ipv6_and_empty_clusters_are_fine() -> None:
    """Brackets around IPv6; a cluster may have lost all its endpoints while its routes stay."""
    assert snapshots.build({"m": routes_of(cluster("v1", TOTAL, "[::1]:80"), cluster("v2", 0))}).get(LDS, "models/m")


def test_the_resources_must_fit_each_other() -> None:
    """A route to an unknown cluster, or a cluster without an assignment, is found whoever made the snapshot."""
    good = snapshots.build({"m": TWO})
    broken: dict[ResourceType, dict[str, Resource]] = {kind: dict(each) for kind, each in good.by_type.items()}
    del broken[CDS]["models/m/versions/v2"]
    with pytest.raises(SnapshotInconsistentError, match="unknown clusters"):
        snapshots.check(Snapshot(good.models, broken))
    broken = {kind: dict(each) for kind, each in good.by_type.items()}
    del broken[EDS]["models/m/versions/v2"]
    with pytest.raises(SnapshotInconsistentError, match="differ"):
        snapshots.check(Snapshot(good.models, broken))
    broken = {kind: dict(each) for kind, each in good.by_type.items()}
    del broken[RDS]["models/m"]
    with pytest.raises(SnapshotInconsistentError, match="without routes"):
        snapshots.check(Snapshot(good.models, broken))


MODEL_IDS = st.from_regex(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
VERSION_IDS = st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?", fullmatch=True)


@given(MODEL_IDS, VERSION_IDS)
def test_names_are_read_as_they_were_written(model: str, version: str) -> None:
    """Names go both ways."""
    assert parse_name(model_name(model)) == Target(model)
    assert parse_name(version_name(model, version)) == Target(model, version)


@pytest.mark.parametrize(
    "name",
    ["", "models", "models/", "models//versions/v", "models/m/versions/", "x/m", "models/M", "models/m\n", GATEWAY],
)
def test_other_names_say_nothing(name: str) -> None:
    """Names of others are none of ours."""
    assert parse_name(name) is None


def with_openai(view: ClusterView, *addresses: str) -> ClusterView:
    """Return the cluster with endpoints of OpenAI's API."""
    return replace(view, openai=tuple(RouteEndpoint(each) for each in addresses))


def test_openai_endpoints_add_a_cluster_and_a_route_of_the_gateway_alone() -> None:
    """An HTTP/1.1 cluster and a first route for ``/v1/`` by the same weight; what gRPC clients are served stays byte for byte."""
    old, new = cluster("v1", 950_000, "127.0.0.1:7001"), cluster("v2", 50_000, "127.0.0.1:7002")
    without = snapshots.build({"m": routes_of(old, new)})
    found = snapshots.build({"m": routes_of(old, with_openai(new, "127.0.0.1:8002", "unix:/run/e.sock"))})
    changed = snapshots.diff(without, found).changed
    name = "models/m/versions/v2/openai"
    assert changed == {CDS: {name}, EDS: {name}, LDS: frozenset(), RDS: {*TABLES}, ECDS: frozenset()}
    table, made, endpoints = found.get(RDS, GATEWAY), found.get(CDS, name), found.get(EDS, name)
    assert table is not None
    assert made is not None
    assert endpoints is not None
    assert table.clusters == ("models/m/versions/v1", "models/m/versions/v2", name)
    first, second = route_pb2.RouteConfiguration.FromString(table.payload).virtual_hosts[0].routes
    assert (first.match.prefix, second.match.prefix) == ("/v1/", "/")
    assert [(each.name, each.weight.value) for each in first.route.weighted_clusters.clusters] == [(name, 50_000)]
    options = cluster_pb2.Cluster.FromString(made.payload).typed_extension_protocol_options
    assert b"http2" not in str(options).encode()
    (locality,) = endpoint_pb2.ClusterLoadAssignment.FromString(endpoints.payload).endpoints
    tcp, socket = (each.endpoint.address for each in locality.lb_endpoints)
    assert (tcp.socket_address.port_value, socket.pipe.path) == (8002, "/run/e.sock")


@pytest.mark.parametrize("address", ["unix:e.sock", "unix:/" + "a" * 107, "localhost:80", "unix:", "tcp://127.0.0.1:1"])
def test_an_openai_endpoint_that_envoy_would_refuse_is_not_published(address: str) -> None:
    """A socket's path is absolute and fits the kernel's room for it; a host is an IP address."""
    with pytest.raises(SnapshotInconsistentError, match="neither IP:port nor unix:/PATH"):
        snapshots.build({"m": routes_of(with_openai(cluster("v1", TOTAL, "127.0.0.1:7001"), address))})


def test_sockets_are_for_gateways_only() -> None:
    """A gRPC client of another machine is never told of a socket."""
    with pytest.raises(SnapshotInconsistentError, match="not IP:port"):
        snapshots.build({"m": routes_of(cluster("v1", TOTAL, "unix:/run/e.sock"))})
