"""The repository through the gateway: by role, and by model."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from echoplane.inference import grpc_service_pb2 as oip
from echoplane.inference import grpc_service_pb2_grpc as oip_grpc
from echoplaned.core.door_headers import CLIENT_HEADER
from echoplaned.core.failure import Reason
from echoplaned.ports.keys import GatewayCaller, Role
from tests.rpc.rest.rest_world import API, RestWorld
from tests.rpc.world import failed

LOAD = {"model_id": "minilm", "version_id": "fp32", "source_uri": "file:fp32", "aliases": ["nick"]}


@pytest.fixture
async def stub(rest: RestWorld) -> Any:
    """Return the protocol's methods as the gateway calls them, with a model and callers of each kind."""
    callers = rest.world.callers
    for role in Role:
        callers[role.lower()] = GatewayCaller(f"key/{role.lower()}", role)
    callers["for-minilm"] = GatewayCaller("key/for-minilm", Role.OPERATOR, ("minilm",))
    callers["for-nick"] = GatewayCaller("key/for-nick", Role.OPERATOR, ("nick",))
    callers["anonymous"] = GatewayCaller("local", Role.CLIENT, is_anonymous=True)
    await rest.ask("LoadModel", f"{API}/load", LOAD)
    return oip_grpc.GRPCInferenceServiceStub(rest.channel)


async def refused(call: Any) -> str:
    """Return why a call was refused."""
    return (await failed(call, Reason.CALLER_NOT_ALLOWED, grpc.StatusCode.PERMISSION_DENIED)).message


def by(client: str) -> tuple[tuple[str, str], ...]:
    """Return the metadata that the gateway adds for a client."""
    return ((CLIENT_HEADER, client),)


async def test_reading_needs_a_viewer_and_changing_an_operator(stub: Any) -> None:
    """Whoever may not load may not unload either; a caller without a key is told how to get one."""
    for client in ("viewer", "client", "operator", "admin", "anonymous"):
        index = await stub.RepositoryIndex(oip.RepositoryIndexRequest(), metadata=by(client))
        assert "minilm" in {each.name for each in index.models}
    for client in ("viewer", "client", "anonymous"):
        for call in (
            stub.RepositoryModelLoad(oip.RepositoryModelLoadRequest(model_name="minilm"), metadata=by(client)),
            stub.RepositoryModelUnload(oip.RepositoryModelUnloadRequest(model_name="minilm"), metadata=by(client)),
        ):
            assert ("echoplane key create" in await refused(call)) == (client == "anonymous")
    unknown = stub.ServerMetadata(oip.ServerMetadataRequest(), metadata=by("nobody"))
    await failed(unknown, Reason.CALLER_UNKNOWN, grpc.StatusCode.UNAUTHENTICATED)


async def test_a_key_for_some_models_sees_and_changes_those(stub: Any) -> None:
    """By whatever name: one that is the alias of another model is that model's."""
    seen = await stub.RepositoryIndex(oip.RepositoryIndexRequest(), metadata=by("for-minilm"))
    assert {each.name for each in seen.models} == {"minilm"}
    unseen = await stub.RepositoryIndex(oip.RepositoryIndexRequest(), metadata=by("for-nick"))
    assert not unseen.models
    for client, name in (("for-minilm", "other"), ("for-nick", "minilm"), ("for-nick", "nick")):
        unload = oip.RepositoryModelUnloadRequest(model_name=name)
        assert name in await refused(stub.RepositoryModelUnload(unload, metadata=by(client)))
        load = oip.RepositoryModelLoadRequest(model_name=name)
        load.parameters["source_uri"].string_param = "file:fp32"
        await refused(stub.RepositoryModelLoad(load, metadata=by(client)))
    await stub.RepositoryModelUnload(oip.RepositoryModelUnloadRequest(model_name="nick"), metadata=by("for-minilm"))
    gone = await stub.RepositoryIndex(oip.RepositoryIndexRequest(ready=True), metadata=by("admin"))
    assert not gone.models


async def test_an_alias_of_what_was_unloaded_opens_nothing(stub: Any) -> None:
    """It loads another model than it says, which is not the caller's: refused as while that model was there."""
    await stub.RepositoryModelUnload(oip.RepositoryModelUnloadRequest(model_name="minilm"), metadata=by("operator"))
    load = oip.RepositoryModelLoadRequest(model_name="nick")
    assert "nick" in await refused(stub.RepositoryModelLoad(load, metadata=by("for-nick")))
    none = await stub.RepositoryIndex(oip.RepositoryIndexRequest(ready=True), metadata=by("admin"))
    assert not none.models
    load.model_name = "minilm"
    await stub.RepositoryModelLoad(load, metadata=by("for-minilm"))
