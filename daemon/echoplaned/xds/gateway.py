"""What the gateway's Envoy is served: one listener, one route table with every model.

Envoy takes no ``api_listener`` over LDS (it logs a warning for each and goes on), so a node that calls itself ``envoy``
gets none of them. Where its node's metadata asks, in the bootstrap::

    node:
      metadata: {echoplane.gateway: {address: 127.0.0.1, port: 8080}}

it is served one socket listener, ``echoplane-gateway``, which never changes while the stream lives (a changed listener
drains its connections). An Envoy with a static listener asks for the route configuration ``echoplane-gateway`` alone.
The route table sends a request to the weighted clusters of the model that its gRPC metadata names: ``echoplane-model:
NAME``. A request without a known model is answered 404, which gRPC clients read as UNIMPLEMENTED.

Paths under ``/v1/`` are OpenAI's: they go to those versions' HTTP/1.1 clusters, by the same weights, as far as the versions' engines
speak it. Where none does, they go with the rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from envoy.config.core.v3 import address_pb2, protocol_pb2
from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.type.matcher.v3 import string_pb2
from google.protobuf import duration_pb2

from echoplaned.core.routes_view import ModelRoutes
from echoplaned.xds.messages import (
    connection_manager,
    openai_action,
    pack_any,
    routed_clusters,
    routed_openai,
    serialise,
    weighted_action,
)
from echoplaned.xds.names import GATEWAY

MODEL_HEADER = "echoplane-model"
OPENAI_PREFIX = "/v1/"
METADATA_KEY = "echoplane.gateway"
CONNECTION_MANAGER = "envoy.filters.network.http_connection_manager"
STREAM_IDLE_TIMEOUT_S = 3600
"""A generation may be silent for long; Envoy's own 5 minutes would cut it."""


@dataclass(frozen=True, slots=True)
class GatewayAddress:
    """Where a gateway's Envoy asks to listen: an IP address of its own machine, and a port from 1 to 65,535."""

    address: str
    port: int


def model_entry(routes: ModelRoutes) -> bytes:
    """Return a model's entry of the route table as a fragment of the table's virtual host; empty if none is routed.

    Fragments are concatenated: https://protobuf.dev/programming-guides/encoding/#last-one-wins
    """
    routed = routed_clusters(routes)
    if not routed:
        return b""
    header = route_components_pb2.HeaderMatcher(
        name=MODEL_HEADER, string_match=string_pb2.StringMatcher(exact=routes.model)
    )
    entries = [
        route_components_pb2.Route(
            match=route_components_pb2.RouteMatch(prefix="/", headers=[header]),
            route=weighted_action(routes.model, routed),
        )
    ]
    if openai := routed_openai(routes):
        # The first route that matches is taken, so the longer prefix comes first.
        match = route_components_pb2.RouteMatch(prefix=OPENAI_PREFIX, headers=[header])
        entries.insert(0, route_components_pb2.Route(match=match, route=openai_action(routes.model, openai)))
    return serialise(route_components_pb2.VirtualHost(routes=entries))


def route_table(entries: Iterable[bytes]) -> route_pb2.RouteConfiguration:
    """Return the gateway's route configuration from the models' entries."""
    table = route_components_pb2.VirtualHost(name=GATEWAY, domains=["*"])
    table.MergeFromString(b"".join(entries))
    return route_pb2.RouteConfiguration(name=GATEWAY, virtual_hosts=[table])


def gateway_listener(asked: GatewayAddress) -> listener_pb2.Listener:
    """Return the gateway's socket listener."""
    manager = connection_manager(GATEWAY)
    manager.codec_type = manager.AUTO
    manager.stream_idle_timeout.CopyFrom(duration_pb2.Duration(seconds=STREAM_IDLE_TIMEOUT_S))
    manager.http2_protocol_options.CopyFrom(protocol_pb2.Http2ProtocolOptions())
    chain = listener_components_pb2.FilterChain(
        filters=[listener_components_pb2.Filter(name=CONNECTION_MANAGER, typed_config=pack_any(manager))]
    )
    socket = address_pb2.SocketAddress(address=asked.address, port_value=asked.port)
    return listener_pb2.Listener(
        name=GATEWAY, address=address_pb2.Address(socket_address=socket), filter_chains=[chain]
    )
