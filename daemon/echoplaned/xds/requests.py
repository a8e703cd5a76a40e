"""Requests of the discovery service as values: who asks, and for what.

This is where others' bytes, names and texts enter. Bytes are counted before they are parsed, names before any is read; a name or an id
that could not be shown is refused, and what a client says of an error, which has lines, is escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final, TypeVar

from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.message import DecodeError, Message

from echoplaned.core.text import escape, is_clean
from echoplaned.xds.names import MAX_NAME_LENGTH, RESOURCE_TYPES, is_name
from echoplaned.xds.observer import MAX_NODE_CHARACTERS
from echoplaned.xds.resources import Resource
from echoplaned.xds.stream import StreamNode
from echoplaned.xds.stream_delta import DeltaRequest
from echoplaned.xds.stream_sotw import SotwRequest

ENVOY_AGENT = "envoy"
MAX_REQUEST_BYTES: Final = 4 * 1024 * 1024
MAX_NAMES: Final = 20_000
MAX_VERSION_LENGTH: Final = 128
MAX_DETAIL_LENGTH: Final = 2000

Request = TypeVar("Request", bound=Message)


class BadRequestError(ValueError):
    """A request that no client should send; its stream ends with INVALID_ARGUMENT."""

    reason = "XDS_REQUEST_INVALID"


def parse(raw: bytes, from_bytes: Callable[[bytes], Request], most: int = MAX_REQUEST_BYTES) -> Request:
    """Return the request in these bytes.

    Raises:
        BadRequestError: they are too many, or no such request.
    """
    if len(raw) > most:
        raise BadRequestError(f"a request of {len(raw)} bytes, {most} are allowed")
    try:
        return from_bytes(raw)
    except DecodeError:
        raise BadRequestError("these bytes are no request of this protocol") from None


def read_node_id(node: base_pb2.Node, peer: str) -> str:
    """Return a node's id, cut to what is kept; one without goes by its peer's address.

    Raises:
        BadRequestError: it holds what could not be shown.
    """
    identity = node.id[:MAX_NODE_CHARACTERS]
    if not is_clean(identity):
        raise BadRequestError("the node's id holds control characters, or marks that hide or turn text round")
    return identity or peer


def read_node(node: base_pb2.Node, peer: str, door: Resource | None = None) -> StreamNode:
    """Read who a stream's first request says it is.

    What it says decides nothing that is not for everybody.


    Args:
        node: what the request says.
        peer: address of the connection's other end.
        door: the gateway's listener, on a socket that nobody but the gateway can open.

    Raises:
        BadRequestError: its id or agent could not be shown.
    """
    agent, identity = node.user_agent_name[:MAX_NODE_CHARACTERS], read_node_id(node, peer)
    if not is_clean(agent):
        raise BadRequestError("user_agent_name holds control characters, or marks that hide or turn text round")
    takes_api_listeners = agent != ENVOY_AGENT and door is None
    return StreamNode(identity, agent, api_listeners=takes_api_listeners, listener=door, peer=peer)


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
    known = message.initial_resource_versions
    _names(known)
    if any(len(version) > MAX_VERSION_LENGTH for version in known.values()):
        raise BadRequestError(f"a version is longer than {MAX_VERSION_LENGTH} characters")
    return DeltaRequest(
        kind,
        subscribe=_names(message.resource_names_subscribe),
        unsubscribe=_names(message.resource_names_unsubscribe),
        known=dict(known),
        nonce=message.response_nonce,
        error=_detail(message.error_detail.message) if message.HasField("error_detail") else None,
    )


def _names(names: Collection[str]) -> tuple[str, ...]:
    if len(names) > MAX_NAMES:
        raise BadRequestError(f"{len(names)} resource names in one request, {MAX_NAMES} are allowed")
    for name in names:
        if not is_name(name):
            shown = escape(name[:64])
            raise BadRequestError(f"{shown!r} is no name: visible ASCII, at most {MAX_NAME_LENGTH} characters")
    return tuple(dict.fromkeys(names))  # one that is listed again is held once, as it is counted


def _detail(message: str) -> str:
    return escape(message[:MAX_DETAIL_LENGTH]) or "refused without a reason"
