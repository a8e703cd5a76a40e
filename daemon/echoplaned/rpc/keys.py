"""KeyService: makes, lists and revokes the keys of the gateway's callers."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from echoplane.options import socket_target
from echoplane.v1 import keys_pb2, keys_pb2_grpc
from echoplaned.core.errors import CallerNotAllowedError, FieldInvalidError
from echoplaned.core.failure import InvalidField
from echoplaned.core.names import gateway_key_name
from echoplaned.ports.keys import KeyRequest, Keys, Role, StoredKey
from echoplaned.rpc.convert.common import by_name, invert, timestamp
from echoplaned.rpc.deduplication import digest_of
from echoplaned.rpc.interceptor import Context
from echoplaned.rpc.names import parse_key
from echoplaned.rpc.paging import PageQuery, write_page

LOCAL_SCHEME: Final = "unix:"
_ROLE_TO_PB = by_name(keys_pb2.Role, "ROLE", Role)
_ROLE_FROM_PB = invert(_ROLE_TO_PB)


class KeyService(keys_pb2_grpc.KeyServiceServicer):
    """Answers on the unix socket alone.

    Whoever can open that is the daemon's user; on TCP nobody is known by anything.

    Args:
        keys: the keys.
        socket: where to call; empty: there is none.
    """

    def __init__(self, keys: Keys, socket: str) -> None:
        self._keys = keys
        self._socket = socket

    async def CreateKey(  # noqa: N802 - the API's name
        self, request: keys_pb2.CreateKeyRequest, context: Context
    ) -> keys_pb2.CreateKeyResponse:
        """Make a key; its answer alone has the key itself."""
        self._check_local(context)
        role = _ROLE_FROM_PB.get(request.role, Role.CLIENT)
        if role is Role.ADMIN and request.models:
            raise FieldInvalidError(InvalidField("models", "must be empty for an admin, who may everything"))
        wanted = KeyRequest(
            role,
            tuple(request.models),
            request.requests_per_minute,
            request.display_name,
            request.request_id,
            digest_of(request),
        )
        key, secret = await self._keys.create(wanted)
        return keys_pb2.CreateKeyResponse(key=self._to_pb(key), secret=secret)

    async def ListKeys(  # noqa: N802 - the API's name
        self, request: keys_pb2.ListKeysRequest, context: Context
    ) -> keys_pb2.ListKeysResponse:
        """List keys, the oldest first."""
        self._check_local(context)
        keys, token = await write_page(
            self._keys.stored,
            lambda key: (key.create_time_s, key.key_id),
            request,
            PageQuery("ListKeys"),
            self._to_pb,
        )
        return keys_pb2.ListKeysResponse(keys=keys, next_page_token=token)

    async def RevokeKey(  # noqa: N802 - the API's name
        self, request: keys_pb2.RevokeKeyRequest, context: Context
    ) -> keys_pb2.Key:
        """Revoke a key for good."""
        self._check_local(context)
        return self._to_pb(await self._keys.revoke(parse_key(request.name)))

    def _check_local(self, context: Context) -> None:
        if context.peer().startswith(LOCAL_SCHEME):
            return
        where = f"call {socket_target(Path(self._socket))}, as `echoplane key` does" if self._socket else _NO_SOCKET
        raise CallerNotAllowedError(f"keys are made and revoked on the daemon's unix socket alone: {where}")

    def _to_pb(self, key: StoredKey) -> keys_pb2.Key:
        request = key.request
        found = keys_pb2.Key(
            name=gateway_key_name(key.key_id),
            role=_ROLE_TO_PB[request.role],
            models=request.models,
            requests_per_minute=request.requests_per_minute,
            state=self._state(key),
            display_name=request.display_name,
            create_time=timestamp(key.create_time_s),
        )
        if key.revoke_time_s is not None:
            found.revoke_time.CopyFrom(timestamp(key.revoke_time_s))
        return found

    def _state(self, key: StoredKey) -> keys_pb2.KeyState:
        if key.revoke_time_s is not None:
            return keys_pb2.KEY_STATE_REVOKED
        return keys_pb2.KEY_STATE_LOST if self._keys.is_lost(key) else keys_pb2.KEY_STATE_ACTIVE


_NO_SOCKET: Final = "this daemon has none, as the path of its state directory is too long for a socket"
