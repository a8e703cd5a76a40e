"""Which endpoints of a version its clusters get, and how long a cluster stays."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from echoplaned.core.endpoints import Endpoint, EndpointProtocol, tcp_endpoint
from echoplaned.core.ids import InstanceKey, VersionKey
from echoplaned.core.routes import desired_clusters
from echoplaned.core.routes_view import ModelRoutes, RouteEndpoint
from echoplaned.core.state import Instance, InstanceState, Model, Version
from echoplaned.testing import builders

V1 = VersionKey("m", "v1")
OIP = tcp_endpoint(EndpointProtocol.OIP_GRPC, "127.0.0.1:7001")
SOCKET = Endpoint(EndpointProtocol.OPENAI_HTTP, "unix:/run/engine.sock")


def model_with(*endpoints: Endpoint, state: InstanceState = InstanceState.READY) -> Model:
    """Return a model whose one version has one instance with these endpoints."""
    order = builders.order()
    instance = Instance(InstanceKey(V1, 0), state=state, endpoints=endpoints)
    version = Version(V1, order.spec, order.facts, order.plan, instances=(instance,))
    return Model("m", serving_version="v1", versions=MappingProxyType({"v1": version}))


def test_a_socket_is_for_the_gateway_and_a_port_for_grpc() -> None:
    """Each protocol's endpoints go to its own cluster."""
    (cluster,) = desired_clusters(model_with(SOCKET, OIP))
    assert cluster.endpoints == (RouteEndpoint("127.0.0.1:7001"),)
    assert cluster.openai == (RouteEndpoint("unix:/run/engine.sock"),)


def test_an_engine_without_openai_has_no_such_cluster() -> None:
    """What is published for it is what was published before there was that protocol."""
    (cluster,) = desired_clusters(model_with(OIP))
    assert cluster.openai is None


def test_a_version_that_starts_again_keeps_its_empty_cluster() -> None:
    """Once it spoke OpenAI's API its share of such requests stays its own, whoever is alive."""
    ready = model_with(SOCKET, OIP)
    routes = ModelRoutes("m", 1, desired_clusters(ready))
    again = replace(model_with(state=InstanceState.STARTING), routes=routes)
    (cluster,) = desired_clusters(again)
    assert (cluster.endpoints, cluster.openai, cluster.routed) == ((), (), True)


def test_oip_over_http_is_where_openai_is() -> None:
    """A cluster says whether its engine answers both, also while that starts again; without OpenAI there is no cluster."""
    rest = Endpoint(EndpointProtocol.OIP_HTTP, "unix:/run/engine.sock")
    ready = model_with(SOCKET, rest, OIP)
    assert [each.oip_http for each in desired_clusters(ready)] == [True]
    again = replace(model_with(state=InstanceState.STARTING), routes=ModelRoutes("m", 1, desired_clusters(ready)))
    assert [each.oip_http for each in desired_clusters(again)] == [True]
    assert [each.oip_http for each in desired_clusters(model_with(SOCKET, OIP))] == [False]
    assert [each.oip_http for each in desired_clusters(model_with(rest, OIP))] == [False]
