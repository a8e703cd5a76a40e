"""KeyService over a real server: on the unix socket alone, and never twice the same key."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from echoplane.v1 import keys_pb2, keys_pb2_grpc
from echoplaned.core.failure import Reason
from echoplaned.ports.keys import StoredKey
from echoplaned.rpc.server import build_server
from echoplaned.rpc.services import build_services
from echoplaned.security.key_ring import KeyRing
from echoplaned.security.key_secret import KeySecretFile
from echoplaned.xds.publisher import Publisher
from tests.rpc.world import World, failed
from tests.xds.xds_harness import Recorder

CODE = grpc.StatusCode


class Table:
    """Keys in memory."""

    def __init__(self) -> None:
        self.keys: dict[str, StoredKey] = {}

    def load(self) -> tuple[StoredKey, ...]:
        """Return all."""
        return tuple(self.keys.values())

    def insert(self, key: StoredKey) -> None:
        """Add one."""
        self.keys[key.key_id] = key

    def revoke(self, key_id: str, time_s: float) -> None:
        """Note the time."""
        self.keys[key_id] = replace(self.keys[key_id], revoke_time_s=time_s)


@pytest.fixture
async def stubs(tmp_path: Path) -> AsyncIterator[tuple[Any, Any]]:
    """Yield the service as it answers on the socket, and as it does on TCP."""
    world = World()
    ring = KeyRing(
        Table(),
        KeySecretFile(tmp_path / "s"),
        Publisher(Recorder(), world.handle.now_s),
        world.handle.now_s,
        required=True,
    )
    deps = replace(world.deps(), keys=ring, socket="/run/api.sock")
    server = build_server(deps, services=build_services(deps))
    port = server.add_insecure_port("127.0.0.1:0")
    server.add_insecure_port(f"unix:{tmp_path}/a")
    await server.start()
    async with (
        grpc.aio.insecure_channel(f"unix:{tmp_path}/a") as local,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}", (("grpc.enable_http_proxy", 0),)) as other,
    ):
        yield keys_pb2_grpc.KeyServiceStub(local), keys_pb2_grpc.KeyServiceStub(other)
    await server.stop(None)


async def test_make_list_revoke(stubs: tuple[Any, Any]) -> None:
    """The key is in one answer; lists and revocation show what is stored of it."""
    local, _ = stubs
    request = keys_pb2.CreateKeyRequest(
        role=keys_pb2.ROLE_OPERATOR, models=["m"], requests_per_minute=7, display_name="ci", request_id="r"
    )
    made = await local.CreateKey(request)
    assert made.secret.startswith(f"ep_{made.key.name.removeprefix('keys/')}_")
    assert (made.key.role, list(made.key.models), made.key.requests_per_minute) == (keys_pb2.ROLE_OPERATOR, ["m"], 7)
    assert await local.CreateKey(request) == made
    plain = await local.CreateKey(keys_pb2.CreateKeyRequest())
    assert plain.key.role == keys_pb2.ROLE_CLIENT
    first = await local.ListKeys(keys_pb2.ListKeysRequest(page_size=1))
    rest = await local.ListKeys(keys_pb2.ListKeysRequest(page_size=1, page_token=first.next_page_token))
    assert {each.name for each in (*first.keys, *rest.keys)} == {made.key.name, plain.key.name}
    revoked = await local.RevokeKey(keys_pb2.RevokeKeyRequest(name=made.key.name))
    assert revoked.state == keys_pb2.KEY_STATE_REVOKED
    assert revoked.HasField("revoke_time")
    assert (await local.RevokeKey(keys_pb2.RevokeKeyRequest(name=made.key.name.removeprefix("keys/")))) == revoked


async def test_a_deadline_leaves_no_half_of_a_key(stubs: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines pass while a key is written and while one is revoked: the same again is answered, and what is listed is in force."""
    local, _ = stubs
    slow = Table.insert

    def insert(table: Table, key: StoredKey) -> None:
        slow(table, key)
        time.sleep(0.3)

    monkeypatch.setattr(Table, "insert", insert)
    request = keys_pb2.CreateKeyRequest(request_id="r")
    with pytest.raises(grpc.aio.AioRpcError, match="Deadline"):
        await local.CreateKey(request, timeout=0.1)
    made = await local.CreateKey(request)
    assert made.secret
    assert [each.name for each in (await local.ListKeys(keys_pb2.ListKeysRequest())).keys] == [made.key.name]
    cut = Table.revoke

    def revoke(table: Table, key_id: str, time_s: float) -> None:
        cut(table, key_id, time_s)
        time.sleep(0.3)

    monkeypatch.setattr(Table, "revoke", revoke)
    with pytest.raises(grpc.aio.AioRpcError, match="Deadline"):
        await local.RevokeKey(keys_pb2.RevokeKeyRequest(name=made.key.name), timeout=0.1)
    await asyncio.sleep(0.5)
    (listed,) = (await local.ListKeys(keys_pb2.ListKeysRequest())).keys
    assert listed.state == keys_pb2.KEY_STATE_REVOKED


async def test_what_is_wrong_is_told(stubs: tuple[Any, Any]) -> None:
    """Fields, reused ids and missing keys each have their reason; an admin's key is for all models."""
    local, _ = stubs
    bad = keys_pb2.CreateKeyRequest(role=77, models=["Not A Model"], requests_per_minute=-1, display_name="\n")  # type: ignore[arg-type]  # what is tested
    found = await failed(local.CreateKey(bad), Reason.FIELD_INVALID, CODE.INVALID_ARGUMENT)
    assert found.fields == {"role", "models[0]", "requests_per_minute", "display_name"}
    scoped = keys_pb2.CreateKeyRequest(role=keys_pb2.ROLE_ADMIN, models=["m"])
    assert (await failed(local.CreateKey(scoped), Reason.FIELD_INVALID, CODE.INVALID_ARGUMENT)).fields == {"models"}
    await local.CreateKey(keys_pb2.CreateKeyRequest(request_id="r"))
    other = keys_pb2.CreateKeyRequest(request_id="r", models=["m"])
    await failed(local.CreateKey(other), Reason.REQUEST_ID_REUSED, CODE.INVALID_ARGUMENT)
    missing = keys_pb2.RevokeKeyRequest(name="keys/none")
    await failed(local.RevokeKey(missing), Reason.KEY_NOT_FOUND, CODE.NOT_FOUND)
    key = (await local.CreateKey(keys_pb2.CreateKeyRequest())).secret
    told = await failed(
        local.RevokeKey(keys_pb2.RevokeKeyRequest(name=key)), Reason.FIELD_INVALID, CODE.INVALID_ARGUMENT
    )
    assert key.split("_", 2)[2] not in told.message, "who sends the key itself does not find it in an error"


async def test_only_the_socket_answers(stubs: tuple[Any, Any]) -> None:
    """Over TCP every method is refused, and the text says where to call."""
    _, other = stubs
    for call in (
        other.CreateKey(keys_pb2.CreateKeyRequest()),
        other.ListKeys(keys_pb2.ListKeysRequest()),
        other.RevokeKey(keys_pb2.RevokeKeyRequest(name="keys/none")),
    ):
        found = await failed(call, Reason.CALLER_NOT_ALLOWED, CODE.PERMISSION_DENIED)
        assert "unix:/run/api.sock" in found.message
