"""Channels to the daemon, and the bootstrap that makes `xds:///` work."""

from __future__ import annotations

import json
import os
import socket
import uuid
from typing import Final, TypedDict

from echoplane._version import __version__

BOOTSTRAP_VARIABLE: Final = "GRPC_XDS_BOOTSTRAP_CONFIG"
# A daemon that restarts is away for a second or two: gRPC's own 120 s between attempts would hide that it is back.
CONTROL_OPTIONS: Final = (
    ("grpc.primary_user_agent", f"echoplane-python/{__version__}"),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)


class ChannelCredentials(TypedDict):
    """Credentials of a bootstrap's server."""

    type: str


class XdsServer(TypedDict):
    """One server of a bootstrap."""

    server_uri: str
    channel_creds: list[ChannelCredentials]
    server_features: list[str]


class Node(TypedDict):
    """Who asks."""

    id: str


class Bootstrap(TypedDict):
    """gRPC's xDS bootstrap (gRFC A27), the part that Echoplane needs."""

    xds_servers: list[XdsServer]
    node: Node


def node_id() -> str:
    """Return an id that no other process has: host, process and a random part."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


def bootstrap(address: str, node: str | None = None) -> Bootstrap:
    """Return the xDS bootstrap for a process that calls models.

    Args:
        address: the daemon's ``HOST:PORT``.
        node: id of the process in the daemon's lists; None: one that no other process has.
    """
    server: XdsServer = {
        "server_uri": address,
        "channel_creds": [{"type": "insecure"}],
        "server_features": ["xds_v3"],
    }
    return {"xds_servers": [server], "node": {"id": node or node_id()}}


def install_bootstrap(address: str, node: str | None = None) -> bool:
    """Put the bootstrap into this process' environment, unless it has one already.

    gRPC reads it with the first ``xds:///`` channel of the process and never again.

    Returns:
        Whether it was put there.
    """
    if os.environ.get(BOOTSTRAP_VARIABLE) or os.environ.get("GRPC_XDS_BOOTSTRAP"):
        return False
    os.environ[BOOTSTRAP_VARIABLE] = json.dumps(bootstrap(address, node))
    return True
