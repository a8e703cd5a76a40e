"""Responses as bytes, each body encoded once for all streams.

Streams that are sent the same share the body; the nonce is appended for each.

Fields of one message may come in any order, so a nonce can follow a finished body:
https://protobuf.dev/programming-guides/encoding/#order
"""

from __future__ import annotations

from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import any_pb2

from echoplaned.xds.names import ResourceType
from echoplaned.xds.resources import Resource, digest
from echoplaned.xds.subscriptions import Push

_NONCE_TAG = bytes([discovery_pb2.DiscoveryResponse.NONCE_FIELD_NUMBER << 3 | 2])
_CACHE_LIMIT = 4096
_CACHE_BYTES = 16 * 1024 * 1024
_MAX_SHARED_REMOVED = 16
"""Names that are gone in one response: what many streams are told has few, what one client made up has as many as it likes."""

_MAX_SHORT_LENGTH = 127

_Key = tuple[bool, ResourceType, tuple[Resource, ...], tuple[str, ...]]


class Encoder:
    """Encodes pushes, and caches their bodies until ``clear``.

    Call ``clear`` with every new snapshot.
    """

    def __init__(self) -> None:
        self._bodies: dict[_Key, bytes] = {}
        self._bytes = 0

    def clear(self) -> None:
        """Forget the bodies."""
        self._bodies.clear()
        self._bytes = 0

    def encode(self, push: Push, *, delta: bool) -> bytes:
        """Return the response's bytes."""
        key = (delta, push.type, push.resources, push.removed)
        body = self._bodies.get(key)
        if body is None:
            body = _delta_body(push) if delta else _sotw_body(push)
            if len(push.removed) <= _MAX_SHARED_REMOVED:
                self._remember(key, body)
        nonce = push.nonce.encode()
        if len(nonce) > _MAX_SHORT_LENGTH:
            raise ValueError(f"a nonce of {len(nonce)} bytes")
        return body + _NONCE_TAG + bytes([len(nonce)]) + nonce

    def _remember(self, key: _Key, body: bytes) -> None:
        if len(self._bodies) >= _CACHE_LIMIT or self._bytes + len(body) > _CACHE_BYTES:
            self.clear()
        self._bodies[key] = body
        self._bytes += len(body)


def _sotw_body(push: Push) -> bytes:
    response = discovery_pb2.DiscoveryResponse(
        version_info=_version(push.resources),
        type_url=str(push.type),
        resources=[any_pb2.Any(type_url=str(each.type), value=each.payload) for each in push.resources],
    )
    return bytes(response.SerializeToString())


def _delta_body(push: Push) -> bytes:
    response = discovery_pb2.DeltaDiscoveryResponse(
        system_version_info=_version(push.resources),
        type_url=str(push.type),
        resources=[
            discovery_pb2.Resource(
                name=each.name,
                version=each.version,
                resource=any_pb2.Any(type_url=str(each.type), value=each.payload),
            )
            for each in push.resources
        ],
        removed_resources=push.removed,
    )
    return bytes(response.SerializeToString())


def _version(resources: tuple[Resource, ...]) -> str:
    """Return the version of a response.

    It is its only resource's, or a digest of all names and versions.
    """
    if len(resources) == 1:
        return resources[0].version
    return digest("\n".join(f"{each.name} {each.version}" for each in resources).encode())
