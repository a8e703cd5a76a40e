"""Channels to the daemon, and the bootstrap that makes `xds:///` work."""

from __future__ import annotations

import json
import os
import socket
import uuid
from collections.abc import Mapping
from typing import Final, TypedDict

from echoplane._version import __version__

BOOTSTRAP_VARIABLE: Final = "GRPC_XDS_BOOTSTRAP_CONFIG"
EXCEPTIONS_VARIABLE: Final = "no_grpc_proxy"
_PROXY_VARIABLES: Final = ("grpc_proxy", "https_proxy", "http_proxy")
# The daemon and its engines are on this machine, where no proxy leads. gRPC would ask one for `xds:///models/NAME` as well, which
# `no_proxy` cannot prevent, since there is no host in that name.
DIRECT_OPTIONS: Final = (("grpc.enable_http_proxy", 0),)
# A daemon that restarts is away for a second or two: gRPC's own 120 s between attempts would hide that it is back.
CONTROL_OPTIONS: Final = (
    *DIRECT_OPTIONS,
    ("grpc.primary_user_agent", f"echoplane-python/{__version__}"),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)


class ChannelCredentials(TypedDict):
    """Credentials of a bootstrap's server.

    Attributes:
        type: their kind as gRPC names it; here always ``insecure``.
    """

    type: str


class XdsServer(TypedDict):
    """One server of a bootstrap.

    Attributes:
        server_uri: the daemon's ``HOST:PORT``.
        channel_creds: ways to dial it; gRPC takes the first that it knows.
        server_features: what gRPC may expect of it; here always ``xds_v3``.
    """

    server_uri: str
    channel_creds: list[ChannelCredentials]
    server_features: list[str]


class Node(TypedDict):
    """The process that asks an xDS server.

    Attributes:
        id: its name in the daemon's lists.
    """

    id: str


class Bootstrap(TypedDict):
    """gRPC's xDS bootstrap (gRFC A27), the part that Echoplane needs.

    Attributes:
        xds_servers: the daemon, as the only one.
        node: the process that asks.
    """

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
    """Put the bootstrap into this process' environment, unless it has one.

    It also keeps proxies away from the daemon, see ``bypass_proxy``. gRPC reads the bootstrap with the first ``xds:///`` channel of the
    process and never again.

    Returns:
        Whether it was put there.
    """
    bypass_proxy(address)
    if os.environ.get(BOOTSTRAP_VARIABLE) or os.environ.get("GRPC_XDS_BOOTSTRAP"):
        return False
    os.environ[BOOTSTRAP_VARIABLE] = json.dumps(bootstrap(address, node))
    return True


def bypass_proxy(address: str) -> None:
    """Let gRPC in this process reach an address without a proxy.

    That is the proxy that the environment names, if it names one. The channel to a bootstrap's server is gRPC's own: it takes no channel
    arguments, so that the variable is the only way.
    """
    exceptions = proxy_exceptions(os.environ, address)
    if exceptions is not None:
        os.environ[EXCEPTIONS_VARIABLE] = exceptions


def proxy_exceptions(environment: Mapping[str, str], address: str) -> str | None:
    """Return the value of ``no_grpc_proxy`` that adds an address to it.

    None: nothing has to be set.

    Args:
        environment: variables of the process that calls.
        address: the daemon's ``HOST:PORT``.
    """
    if not any(environment.get(name) for name in _PROXY_VARIABLES):
        return None
    host = address.rpartition(":")[0].strip("[]") or address
    # Where no_grpc_proxy is set gRPC does not look at no_proxy any more: what is in there must not be lost.
    known = environment.get(EXCEPTIONS_VARIABLE) or environment.get("no_proxy") or ""
    if host in [entry.strip() for entry in known.split(",")]:
        return None
    return f"{known},{host}" if known else host
