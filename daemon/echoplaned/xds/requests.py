"""Requests of the discovery service as values: who asks, and for what."""

from __future__ import annotations

from collections.abc import Sequence

from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import discovery_pb2

from echoplaned.xds.gateway import METADATA_KEY, GatewayAddress
from echoplaned.xds.names import RESOURCE_TYPES
from echoplaned.xds.resources import Resource, build_gateway_listener
from echoplaned.xds.snapshot import is_ip_port
from echoplaned.xds.stream import StreamNode
from echoplaned.xds.stream_delta import DeltaRequest
from echoplaned.xds.stream_sotw import SotwRequest

ENVOY_AGENT = "envoy"
MAX_NAMES = 20_000
MAX_NAME_LENGTH = 1024
MAX_DETAIL_LENGTH = 2000


class BadRequestError(ValueError):
    """A request that no client should send; its stream ends with INVALID_ARGUMENT."""

    reason = "XDS_REQUEST_INVALID"


def read_node(node: base_pb2.Node, peer: str) -> StreamNode:
    """Read who a stream's first request says it is; a node without an id goes by its peer's address.

    Raises:
        BadRequestError: a gateway asks for an address that is none.
    """
    agent = node.user_agent_name[:MAX_NAME_LENGTH]
    identity = node.id[:MAX_NAME_LENGTH] or peer
    listener = _asked_listener(node)
    return StreamNode(identity, agent, api_listeners=agent != ENVOY_AGENT, listener=listener, peer=peer)


def read_sotw(message: discovery_pb2.DiscoveryRequest) -> SotwRequest | None:
    """Read a state-of-the-world request; None for a type that is not served.

    Raises:
        BadRequestError: too many names, or a name that is too long.
    """
    kind = RESOURCE_TYPES.get(message.type_url)
    if kind is None:
        return None
    error = _detail(message.error_detail.message) if message.HasField("error_detail") else None
    return SotwRequest(kind, _names(message.resource_names), message.response_nonce, error)


def read_delta(message: discovery_pb2.DeltaDiscoveryRequest) -> DeltaRequest | None:
    """Read a delta request; None for a type that is not served.

    Raises:
        BadRequestError: as for ``read_sotw``.
    """
    kind = RESOURCE_TYPES.get(message.type_url)
    if kind is None:
        return None
    known = dict(message.initial_resource_versions)
    _names(tuple(known))
    return DeltaRequest(
        kind,
        subscribe=_names(message.resource_names_subscribe),
        unsubscribe=_names(message.resource_names_unsubscribe),
        known=known,
        nonce=message.response_nonce,
        error=_detail(message.error_detail.message) if message.HasField("error_detail") else None,
    )


def _names(names: Sequence[str]) -> tuple[str, ...]:
    if len(names) > MAX_NAMES:
        raise BadRequestError(f"{len(names)} resource names in one request, {MAX_NAMES} are allowed")
    if names and max(map(len, names)) > MAX_NAME_LENGTH:
        raise BadRequestError(f"a resource name is longer than {MAX_NAME_LENGTH} characters")
    return tuple(names)


def _detail(message: str) -> str:
    return message[:MAX_DETAIL_LENGTH] or "refused without a reason"


def _asked_listener(node: base_pb2.Node) -> Resource | None:
    if METADATA_KEY not in node.metadata.fields:
        return None
    asked = node.metadata.fields[METADATA_KEY].struct_value.fields
    address, port = asked["address"].string_value, asked["port"].number_value
    if not is_ip_port(f"{address}:{port:.0f}"):
        raise BadRequestError(f"{METADATA_KEY} in the node's metadata must hold an IP address and a port")
    return build_gateway_listener(GatewayAddress(address, int(port)))
