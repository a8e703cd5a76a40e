"""Protobuf messages of xDS as gRPC clients and Envoy both take them; nothing else of the daemon builds any."""

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

from echoplaned.core.routes_view import ClusterView, ModelRoutes, RouteEndpoint
from echoplaned.xds.names import version_name

HTTP_PROTOCOL_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
ROUTER_FILTER = "envoy.filters.http.router"
CONNECT_TIMEOUT_S = 5
MAX_CONCURRENT = 1_000_000
"""Requests and connections a cluster may have at once. Both kinds of client default to 1,024 and fail what is above."""


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


def packed(message: Message) -> any_pb2.Any:
    """Return the message in an Any, deterministically serialised."""
    wrapped = any_pb2.Any()
    wrapped.Pack(cast(any_pb2.Any, message), deterministic=True)  # any message may be packed; the stub names one
    return wrapped


def connection_manager(route_config: str) -> hcm_pb2.HttpConnectionManager:
    """Return a connection manager that takes its routes from ADS. The router must be its last filter."""
    return hcm_pb2.HttpConnectionManager(
        stat_prefix="echoplane",
        rds=hcm_pb2.Rds(config_source=ads_source(), route_config_name=route_config),
        http_filters=[hcm_pb2.HttpFilter(name=ROUTER_FILTER, typed_config=packed(router_pb2.Router()))],
    )


def routed_clusters(routes: ModelRoutes) -> tuple[ClusterView, ...]:
    """Return the clusters that a model's route names, by version. One of weight 0 is left out: gRPC would drop it."""
    named = (cluster for cluster in routes.clusters if cluster.routed and cluster.weight_ppm > 0)
    return tuple(sorted(named, key=lambda cluster: cluster.version))


def weighted_action(model: str, clusters: Iterable[ClusterView]) -> route_components_pb2.RouteAction:
    """Return the action that spreads requests over a model's clusters. No route timeout: answers may be streams."""
    weights = [
        route_components_pb2.WeightedCluster.ClusterWeight(
            name=version_name(model, each.version), weight=wrappers_pb2.UInt32Value(value=each.weight_ppm)
        )
        for each in clusters
    ]
    return route_components_pb2.RouteAction(
        weighted_clusters=route_components_pb2.WeightedCluster(clusters=weights),
        timeout=duration_pb2.Duration(seconds=0),
    )


def listener(name: str) -> listener_pb2.Listener:
    """Return the listener that a gRPC client dials by name; its routes carry the same name."""
    return listener_pb2.Listener(
        name=name, api_listener=api_listener_pb2.ApiListener(api_listener=packed(connection_manager(name)))
    )


def route_config(name: str, model: str, clusters: Iterable[ClusterView]) -> route_pb2.RouteConfiguration:
    """Return routes that send every request to the clusters by weight."""
    everything = route_components_pb2.Route(
        match=route_components_pb2.RouteMatch(prefix=""), route=weighted_action(model, clusters)
    )
    host = route_components_pb2.VirtualHost(name=name, domains=["*"], routes=[everything])
    return route_pb2.RouteConfiguration(name=name, virtual_hosts=[host])


def cluster(name: str) -> cluster_pb2.Cluster:
    """Return a cluster whose endpoints come by EDS and whose load is reported to this server."""
    http2 = http_protocol_options_pb2.HttpProtocolOptions(
        explicit_http_config=http_protocol_options_pb2.HttpProtocolOptions.ExplicitHttpConfig(
            http2_protocol_options=protocol_pb2.Http2ProtocolOptions()
        )
    )
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
        typed_extension_protocol_options={HTTP_PROTOCOL_OPTIONS: packed(http2)},
    )


def assignment(name: str, endpoints: Iterable[RouteEndpoint]) -> endpoint_pb2.ClusterLoadAssignment:
    """Return a cluster's endpoints in one locality; gRPC clients want it named and of non-zero weight."""
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
    host, _, port = endpoint.address.rpartition(":")
    status = health_check_pb2.HealthStatus
    return endpoint_components_pb2.LbEndpoint(
        endpoint=endpoint_components_pb2.Endpoint(
            address=address_pb2.Address(
                socket_address=address_pb2.SocketAddress(address=host.strip("[]"), port_value=int(port))
            )
        ),
        health_status=status.HEALTHY if endpoint.healthy else status.UNHEALTHY,
    )
