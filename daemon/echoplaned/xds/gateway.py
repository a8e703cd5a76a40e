"""What Envoys are served that others run: one route table with every model.

Envoy takes no ``api_listener`` over LDS (it logs a warning for each and goes on), so a node that calls itself ``envoy``
gets none of them, and no listener of the gateway's either, whatever it says of itself. Such an Envoy has a static listener that
asks for the route configuration ``echoplane-gateway``::

    http_connection_manager:
      rds: {route_config_name: echoplane-gateway, config_source: {ads: {}, resource_api_version: V3}}

The route table sends a request to the weighted clusters of the model that its gRPC metadata names: ``echoplane-model:
NAME``. A request without a known model is answered 404, which gRPC clients read as UNIMPLEMENTED. The gateway that the daemon
runs itself is served other routes (``door``).

Paths under ``/v1/`` are OpenAI's: they go to those versions' HTTP/1.1 clusters, by the same weights, as far as the versions' engines
speak it. Where none does, they go with the rest.
"""

from __future__ import annotations

from collections.abc import Iterable

from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.type.matcher.v3 import string_pb2

from echoplaned.core.routes_view import ModelRoutes
from echoplaned.xds.messages import (
    openai_action,
    routed_clusters,
    routed_openai,
    serialise,
    weighted_action,
)
from echoplaned.xds.names import GATEWAY

MODEL_HEADER = "echoplane-model"
OPENAI_PREFIX = "/v1/"
CONNECTION_MANAGER = "envoy.filters.network.http_connection_manager"
STREAM_IDLE_TIMEOUT_S = 3600
"""A generation may be silent for long; Envoy's own 5 minutes would cut it."""


def model_entry(routes: ModelRoutes) -> bytes:
    """Return a model's entry of the gateway's route table.

    It is a fragment of the table's virtual host; empty if none of the model's clusters is routed.

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
