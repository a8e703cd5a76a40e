"""Protobuf messages of xDS as gRPC clients and Envoy both take them.

Nothing else of the daemon builds any.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, cast

from envoy.config.cluster.v3 import circuit_breaker_pb2, cluster_pb2
from envoy.config.core.v3 import address_pb2, base_pb2, config_source_pb2, health_check_pb2, protocol_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2
from envoy.config.listener.v3 import api_listener_pb2, listener_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from envoy.type.v3 import percent_pb2
from google.protobuf import any_pb2, duration_pb2, wrappers_pb2

from echoplaned.core.names import version_name
from echoplaned.core.routes_view import ClusterView, ModelRoutes, RouteEndpoint
from echoplaned.ports.gateway import MAX_CONCURRENT
from echoplaned.xds.names import openai_name

HTTP_PROTOCOL_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
ROUTER_FILTER = "envoy.filters.http.router"
CONNECT_TIMEOUT_S = 5
HTTP1_IDLE_TIMEOUT_S = 4
"""Engines close an idle connection after 5 s (uvicorn, cpp-httplib); who closes it first never writes into one that is closing."""
SOCKET_SCHEME = "unix:"


class Message(Protocol):
    """What is used of a protobuf message here."""

    def SerializeToString(self, *, deterministic: bool) -> bytes:  # noqa: N802 - protobuf's name
        """Return the message's bytes."""
        ...


def serialise(message: Message) -> bytes:
    """Return the message's bytes, the same for the same content in every process."""
    return message.SerializeToString(deterministic=True)


def ads_source() -> config_source_pb2.ConfigSource:
    """Return the source of a resource that comes on the same stream."""
    return config_source_pb2.ConfigSource(
        ads=config_source_pb2.AggregatedConfigSource(), resource_api_version=config_source_pb2.ApiVersion.V3
    )


def pack_any(message: Message) -> any_pb2.Any:
    """Return the message in an Any, deterministically serialised."""
    wrapped = any_pb2.Any()
    wrapped.Pack(cast(any_pb2.Any, message), deterministic=True)  # any message may be packed; the stub names one
    return wrapped


def connection_manager(route_config: str) -> hcm_pb2.HttpConnectionManager:
    """Return a connection manager that takes its routes from ADS.

    The router must be its last filter.
    """
    return hcm_pb2.HttpConnectionManager(
        stat_prefix="echoplane",
        rds=hcm_pb2.Rds(config_source=ads_source(), route_config_name=route_config),
        http_filters=[hcm_pb2.HttpFilter(name=ROUTER_FILTER, typed_config=pack_any(router_pb2.Router()))],
    )


def routed_clusters(routes: ModelRoutes) -> tuple[ClusterView, ...]:
    """Return the clusters that a model's route names, by version.

    One of weight 0 is left out: gRPC would drop it.
    """
    named = (cluster for cluster in routes.clusters if cluster.routed and cluster.weight_ppm > 0)
    return tuple(sorted(named, key=lambda cluster: cluster.version))


def routed_openai(routes: ModelRoutes) -> tuple[ClusterView, ...]:
    """Return the routed clusters whose engines speak OpenAI's API.

    The rest could only answer an error.
    """
    return tuple(cluster for cluster in routed_clusters(routes) if cluster.openai is not None)


def weighted_action(model: str, clusters: Iterable[ClusterView]) -> route_components_pb2.RouteAction:
    """Return the action that spreads requests over a model's clusters."""
    return _weighted((version_name(model, each.version), each.weight_ppm) for each in clusters)


def openai_action(model: str, clusters: Iterable[ClusterView]) -> route_components_pb2.RouteAction:
    """Return the action that spreads OpenAI requests over a model's clusters.

    What an engine may have begun is never repeated. A connection that it closed while the request was on its way is tried again.
    """
    action = _weighted((openai_name(model, each.version), each.weight_ppm) for each in clusters)
    action.retry_policy.retry_on = "connect-failure,refused-stream,reset-before-request"
    action.retry_policy.num_retries.value = 2
    return action


def _weighted(weights: Iterable[tuple[str, int]]) -> route_components_pb2.RouteAction:
    """Return an action that spreads requests by weight.

    It has no route timeout: answers may be streams.
    """
    clusters = [
        route_components_pb2.WeightedCluster.ClusterWeight(name=name, weight=wrappers_pb2.UInt32Value(value=ppm))
        for name, ppm in weights
    ]
    return route_components_pb2.RouteAction(
        weighted_clusters=route_components_pb2.WeightedCluster(clusters=clusters),
        timeout=duration_pb2.Duration(seconds=0),
    )


def listener(name: str) -> listener_pb2.Listener:
    """Return the listener that a gRPC client dials by name.

    Its routes carry the same name.
    """
    return listener_pb2.Listener(
        name=name, api_listener=api_listener_pb2.ApiListener(api_listener=pack_any(connection_manager(name)))
    )


def route_config(name: str, model: str, clusters: Iterable[ClusterView]) -> route_pb2.RouteConfiguration:
    """Return routes that send every request to the clusters by weight."""
    everything = route_components_pb2.Route(
        match=route_components_pb2.RouteMatch(prefix=""), route=weighted_action(model, clusters)
    )
    host = route_components_pb2.VirtualHost(name=name, domains=["*"], routes=[everything])
    return route_pb2.RouteConfiguration(name=name, virtual_hosts=[host])


def cluster(name: str) -> cluster_pb2.Cluster:
    """Return a cluster of gRPC servers."""
    explicit = http_protocol_options_pb2.HttpProtocolOptions.ExplicitHttpConfig(
        http2_protocol_options=protocol_pb2.Http2ProtocolOptions()
    )
    return _cluster(name, http_protocol_options_pb2.HttpProtocolOptions(explicit_http_config=explicit))


def openai_cluster(name: str) -> cluster_pb2.Cluster:
    """Return a cluster of HTTP/1.1 servers."""
    explicit = http_protocol_options_pb2.HttpProtocolOptions.ExplicitHttpConfig(
        http_protocol_options=protocol_pb2.Http1ProtocolOptions()
    )
    idle = protocol_pb2.HttpProtocolOptions(idle_timeout=duration_pb2.Duration(seconds=HTTP1_IDLE_TIMEOUT_S))
    options = http_protocol_options_pb2.HttpProtocolOptions(
        explicit_http_config=explicit, common_http_protocol_options=idle
    )
    return _cluster(name, options)


def _cluster(name: str, protocol: http_protocol_options_pb2.HttpProtocolOptions) -> cluster_pb2.Cluster:
    """Return a cluster with the settings that all kinds share.

    Its endpoints come by EDS, and its load is reported to this server.
    """
    unlimited = wrappers_pb2.UInt32Value(value=MAX_CONCURRENT)
    return cluster_pb2.Cluster(
        name=name,
        type=cluster_pb2.Cluster.DiscoveryType.EDS,
        eds_cluster_config=cluster_pb2.Cluster.EdsClusterConfig(eds_config=ads_source()),
        connect_timeout=duration_pb2.Duration(seconds=CONNECT_TIMEOUT_S),
        lrs_server=config_source_pb2.ConfigSource(self=config_source_pb2.SelfConfigSource()),
        circuit_breakers=circuit_breaker_pb2.CircuitBreakers(
            thresholds=[
                circuit_breaker_pb2.CircuitBreakers.Thresholds(
                    max_connections=unlimited, max_pending_requests=unlimited, max_requests=unlimited
                )
            ]
        ),
        # gRPC clients never send to an unhealthy endpoint; Envoy does below 50 % healthy, unless told otherwise.
        common_lb_config=cluster_pb2.Cluster.CommonLbConfig(healthy_panic_threshold=percent_pb2.Percent(value=0)),
        typed_extension_protocol_options={HTTP_PROTOCOL_OPTIONS: pack_any(protocol)},
    )


def assignment(name: str, endpoints: Iterable[RouteEndpoint]) -> endpoint_pb2.ClusterLoadAssignment:
    """Return a cluster's endpoints in one locality.

    gRPC clients want the locality named and of non-zero weight.
    """
    members = [_lb_endpoint(each) for each in sorted(endpoints, key=lambda each: each.address)]
    localities = [
        endpoint_components_pb2.LocalityLbEndpoints(
            locality=base_pb2.Locality(zone="local"),
            load_balancing_weight=wrappers_pb2.UInt32Value(value=1),
            lb_endpoints=members,
        )
    ]
    return endpoint_pb2.ClusterLoadAssignment(cluster_name=name, endpoints=localities if members else [])


def _lb_endpoint(endpoint: RouteEndpoint) -> endpoint_components_pb2.LbEndpoint:
    status = health_check_pb2.HealthStatus
    return endpoint_components_pb2.LbEndpoint(
        endpoint=endpoint_components_pb2.Endpoint(address=_address(endpoint.address)),
        health_status=status.HEALTHY if endpoint.healthy else status.UNHEALTHY,
    )


def _address(address: str) -> address_pb2.Address:
    if address.startswith(SOCKET_SCHEME):
        return address_pb2.Address(pipe=address_pb2.Pipe(path=address.removeprefix(SOCKET_SCHEME)))
    host, _, port = address.rpartition(":")
    return address_pb2.Address(socket_address=address_pb2.SocketAddress(address=host.strip("[]"), port_value=int(port)))
