"""Envoy's bootstrap: the way to the daemon, bounds, logs, administration.

Listener, routes and clusters come over xDS.
"""

from __future__ import annotations

from typing import Any, Final

from echoplaned.gateway.options import GatewayOptions, admin_socket, control_socket
from echoplaned.ports.gateway import CONTROL_CLUSTER, MAX_CONCURRENT, OWN_CLUSTER

NODE_ID: Final = "echoplane-gateway"
_HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_TYPE: Final = "type.googleapis.com/"
_OWNER_ONLY: Final = 0o600
_LOG_LINE: Final = {"time": "%Y-%m-%dT%T.%e%z", "level": "%l", "logger": "%n", "thread": "%t", "message": "%j"}
_RECONNECTION: Final = {"base_interval": "0.25s", "max_interval": "1s"}
"""How soon a daemon that came back is asked again. Envoy's own is up to 30 s, for which a revoked key would go on."""

Json = dict[str, Any]


def make_bootstrap(options: GatewayOptions, generation: int) -> Json:
    """Return the bootstrap of one generation, in Envoy's JSON form."""
    service = {"envoy_grpc": {"cluster_name": OWN_CLUSTER}}
    configuration = {"envoy_grpc": {"cluster_name": OWN_CLUSTER, "retry_policy": {"retry_back_off": _RECONNECTION}}}
    # Without a daemon an Envoy that shall take over waits, and its predecessor serves on; else it would take over with nothing.
    source = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
    return {
        "node": {"id": NODE_ID, "cluster": NODE_ID},
        "admin": {"address": {"pipe": {"path": str(admin_socket(options.state_dir, generation)), "mode": _OWNER_ONLY}}},
        "application_log_config": {"log_format": {"json_format": _LOG_LINE}},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "grpc_services": [configuration],
                "set_node_on_first_message_only": True,
            },
            "cds_config": source,
            "lds_config": source,
        },
        "cluster_manager": {
            "load_stats_config": {"api_type": "GRPC", "transport_api_version": "V3", "grpc_services": [service]}
        },
        "overload_manager": _bounds(options),
        "static_resources": {"clusters": [_control_cluster(name, options) for name in (CONTROL_CLUSTER, OWN_CLUSTER)]},
    }


def _control_cluster(name: str, options: GatewayOptions) -> Json:
    """Return a cluster that dials the daemon's own socket.

    There are two, so that what callers leave open takes no place, and no connection's window, of what Envoy itself needs.
    """
    endpoint = {"endpoint": {"address": {"pipe": {"path": str(control_socket(options.state_dir))}}}}
    http2 = {"http2_protocol_options": {"connection_keepalive": {"interval": "30s", "timeout": "10s"}}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "2s",
        "circuit_breakers": {
            "thresholds": [dict.fromkeys(("max_connections", "max_pending_requests", "max_requests"), MAX_CONCURRENT)]
        },
        "typed_extension_protocol_options": {
            _HTTP_OPTIONS: {"@type": f"{_TYPE}{_HTTP_OPTIONS}", "explicit_http_config": http2}
        },
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _bounds(options: GatewayOptions) -> Json:
    connections = "envoy.resource_monitors.global_downstream_max_connections"
    heap = "envoy.resource_monitors.fixed_heap"
    monitors = "envoy.extensions.resource_monitors"
    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [
            {
                "name": connections,
                "typed_config": {
                    "@type": f"{_TYPE}{monitors}.downstream_connections.v3.DownstreamConnectionsConfig",
                    "max_active_downstream_connections": options.max_connections,
                },
            },
            {
                "name": heap,
                "typed_config": {
                    "@type": f"{_TYPE}{monitors}.fixed_heap.v3.FixedHeapConfig",
                    "max_heap_size_bytes": options.max_heap_bytes,
                },
            },
        ],
        "actions": [
            _action("envoy.overload_actions.shrink_heap", heap, 0.95),
            _action("envoy.overload_actions.stop_accepting_requests", heap, 0.98),
        ],
    }


def _action(name: str, monitor: str, share: float) -> Json:
    return {"name": name, "triggers": [{"name": monitor, "threshold": {"value": share}}]}
