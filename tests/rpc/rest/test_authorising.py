"""What callers through the gateway may do: by role, by model, and in whose name."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import grpc
import pytest

from echoplane.gateway.v1 import openai_pb2
from echoplaned.core.door_headers import CLIENT_HEADER
from echoplaned.core.failure import Reason
from echoplaned.ports.keys import GatewayCaller, Role
from echoplaned.rpc.rest.routes import ROUTES
from tests.rpc.rest.rest_world import API, RestWorld
from tests.rpc.world import failed

CODE = grpc.StatusCode
LOAD = {"model_id": "minilm", "version_id": "fp32", "source_uri": "file:fp32"}
CHANGES = {"LoadModel", "UpdateModel", "DeleteModel", "CheckModelHealth", "CancelOperation", "DeleteOperation"}


def by(client: str) -> dict[str, list[tuple[str, str]]]:
    """Return what the gateway adds for a client."""
    return {"headers": [(CLIENT_HEADER, client)]}


@pytest.fixture
async def keyed(rest: RestWorld) -> RestWorld:
    """Return a daemon with a model and one caller of each kind."""
    callers = rest.world.callers
    for role in Role:
        callers[role.lower()] = GatewayCaller(f"key/{role.lower()}", role)
        callers[f"{role.lower()}-other"] = GatewayCaller(f"key/{role.lower()}-other", role, ("other",))
        callers[f"{role.lower()}-minilm"] = GatewayCaller(f"key/{role.lower()}-minilm", role, ("minilm",))
    callers["anonymous"] = GatewayCaller("local", Role.CLIENT, is_anonymous=True)
    await rest.ask("LoadModel", f"{API}/load", LOAD)
    return rest


def test_what_changes_something_needs_an_operator() -> None:
    """Reads need a viewer, everything else an operator; a new route is one or the other on purpose."""
    assert {route.method for route in ROUTES if route.role is Role.OPERATOR} == CHANGES
    assert {route.role for route in ROUTES} == {Role.VIEWER, Role.OPERATOR}
    assert all((route.verb == "get") == (route.role is Role.VIEWER) for route in ROUTES)


async def test_roles(keyed: RestWorld) -> None:
    """Viewers and clients read; an operator changes too; nobody does nothing, but looks whether the daemon is up."""
    for client in ("viewer", "client", "anonymous", "operator", "admin"):
        await keyed.ask("GetModel", f"{API}/models/minilm", **by(client))
    for client in ("viewer", "client", "anonymous"):
        call = keyed.call("CheckModelHealth", f"{API}/health_check/minilm", **by(client))
        found = await failed(call, Reason.CALLER_NOT_ALLOWED, CODE.PERMISSION_DENIED)
        assert ("echoplane key create" in found.message) == (client == "anonymous")
    for client in ("operator", "admin", "operator-minilm"):
        await keyed.ask("CheckModelHealth", f"{API}/health_check/minilm", **by(client))
    call = keyed.call("GetStatus", f"{API}/status", **by("nobody"))
    await failed(call, Reason.CALLER_UNKNOWN, CODE.UNAUTHENTICATED)
    assert (await keyed.ask("GetHealth", "/health", **by("nobody")))["state"] == "HEALTH_STATE_SERVING"


async def test_models_are_those_of_the_decoded_request(keyed: RestWorld) -> None:
    """In path, body and query, by either spelling: a key is not for another model, there or not."""
    calls: list[tuple[str, str, object]] = [
        ("GetModel", f"{API}/models/minilm", None),
        ("GetModel", f"{API}/models/models%2Fminilm", None),
        ("GetModel", f"{API}/models/nobody", None),
        ("GetModelHealth", f"{API}/health/minilm", None),
        ("ListRollouts", f"{API}/models/minilm/rollouts", None),
        ("GetRollout", f"{API}/models/minilm/rollouts/r", None),
        ("WatchRollout", f"{API}/models/minilm/rollouts/r/watch", None),
        ("GetMetrics", f"{API}/metrics?model=minilm", None),
        ("WatchEvents", f"{API}/events?model=models/minilm", None),
        ("DeleteModel", f"{API}/models/minilm", None),
        ("CheckModelHealth", f"{API}/health_check/minilm", {}),
        ("LoadModel", f"{API}/load", LOAD),
        ("UpdateModel", f"{API}/update", {**LOAD, "version_id": "int8", "source_uri": "file:int8"}),
    ]
    for method, path, body in calls:
        call = keyed.call(method, path, body, **by("operator-other"))
        waited = call.read() if hasattr(call, "read") else call
        found = await failed(waited, Reason.CALLER_NOT_ALLOWED, CODE.PERMISSION_DENIED)
        assert "key/operator-other" in found.message, method


async def test_an_operation_on_another_model_is_not_there(keyed: RestWorld) -> None:
    """Whatever is asked of it, the answer is that to an id which nobody has, its details included."""
    (operation,) = (await keyed.ask("ListOperations", f"{API}/operations"))["operations"]
    mine = operation["name"].partition("/")[2]
    nobodys = "0" * len(mine)
    for method, path in (("GetOperation", ""), ("CancelOperation", ":cancel"), ("DeleteOperation", "")):
        told = set()
        for identity, client in ((mine, "operator-other"), (nobodys, "operator-other"), (nobodys, "operator")):
            call = keyed.call(method, f"{API}/operations/{identity}{path}", **by(client))
            found = await failed(call, Reason.OPERATION_NOT_FOUND, CODE.NOT_FOUND)
            told.add(found.status.SerializeToString().replace(identity.encode(), nobodys.encode()))
        assert len(told) == 1, method
    assert (await keyed.ask("GetOperation", f"{API}/operations/{mine}", **by("viewer-minilm")))["name"].endswith(mine)


async def test_a_taken_name_does_not_tell_whose_it_is(keyed: RestWorld) -> None:
    """As an alias and as an id; whoever may see the owner is told, as before."""
    taken = {**LOAD, "model_id": "owner", "version_id": "o", "aliases": ["Org/Taken", "taken"]}
    await keyed.ask("LoadModel", f"{API}/load", taken)
    keyed.world.callers["taken"] = GatewayCaller("key/taken", Role.OPERATOR, ("taken", "other"))
    by_alias = {**LOAD, "model_id": "other", "version_id": "o", "aliases": ["Org/Taken"]}
    by_id = {**LOAD, "model_id": "taken", "version_id": "o"}
    for body in (by_alias, by_id):
        for client, is_told in (("taken", False), ("operator", True)):
            call = keyed.call("LoadModel", f"{API}/load", body, **by(client))
            found = await failed(call, Reason.ALIAS_EXISTS, CODE.ALREADY_EXISTS)
            assert ("owner" in str(found.status)) == is_told, (found.message, client)
            assert "taken" in found.message


async def test_a_key_takes_no_name_that_is_kept_for_another_keys_model(keyed: RestWorld) -> None:
    """Whether that model is loaded or not: its callers' requests would reach this one, and it could not be loaded."""
    keyed.world.callers["x"] = GatewayCaller("key/x", Role.OPERATOR, ("x",))
    body = {**LOAD, "model_id": "other", "version_id": "o"}
    call = keyed.call("LoadModel", f"{API}/load", {**body, "aliases": ["Org/Other", "x"]}, **by("operator-other"))
    found = await failed(call, Reason.CALLER_NOT_ALLOWED, CODE.PERMISSION_DENIED)
    assert "models/x" in found.message
    await keyed.ask("LoadModel", f"{API}/load", {**body, "aliases": ["Org/Other", "gpt-4"]}, **by("operator-other"))
    by_anybody = {**LOAD, "model_id": "third", "version_id": "t", "aliases": ["x"]}
    await keyed.ask("LoadModel", f"{API}/load", by_anybody, **by("operator"))


async def test_pages_are_cut_from_what_a_key_may_see(keyed: RestWorld) -> None:
    """No page is short, none follows the last, and no token names what is another's."""
    for name in ("a", "other", "z"):
        await keyed.ask("LoadModel", f"{API}/load", {**LOAD, "model_id": name, "version_id": name})
    for path, method, field in (
        ("models", "ListModels", "models"),
        ("operations", "ListOperations", "operations"),
    ):
        answer = await keyed.ask(method, f"{API}/{path}?page_size=1", **by("viewer-other"))
        assert (len(answer[field]), answer["next_page_token"]) == (1, ""), method
        everything = await keyed.ask(method, f"{API}/{path}?page_size=1", **by("viewer"))
        assert everything["next_page_token"]


async def test_lists_show_a_keys_own_models(keyed: RestWorld) -> None:
    """Whatever has something of every model is cut down to the caller's."""
    await keyed.ask(
        "LoadModel", f"{API}/load", {**LOAD, "model_id": "other", "source_uri": "file:other", "version_id": "o"}
    )
    for method, path, field, name in (
        ("ListModels", "models", "models", "name"),
        ("GetStatus", "status", "models", "name"),
        ("GetMetrics", "metrics", "versions", "version"),
    ):
        for client, expected in (
            ("viewer", {"minilm", "other"}),
            ("viewer-other", {"other"}),
            ("viewer-minilm", {"minilm"}),
        ):
            answer = await keyed.ask(method, f"{API}/{path}", **by(client))
            assert {each[name].split("/")[1] for each in answer[field]} == expected, (method, client)
    for client, count in (("viewer", 2), ("viewer-other", 1)):
        assert len((await keyed.ask("ListOperations", f"{API}/operations", **by(client)))["operations"]) == count
    events = keyed.call("WatchEvents", f"{API}/events", **by("viewer-other"))
    await events.read()
    await keyed.ask("LoadModel", f"{API}/load", {**LOAD, "version_id": "int8", "source_uri": "file:int8"})
    await keyed.ask("DeleteModel", f"{API}/models/other?force=true")
    subject = ""
    while not subject.startswith("models/other"):
        text = (await events.read()).data.decode()
        if "data: " in text:
            subject = json.loads(text.partition("data: ")[2])["subject"]
            assert "minilm" not in subject
    events.cancel()


async def until_the_end(events: Any, code: grpc.StatusCode = CODE.UNAUTHENTICATED) -> list[str]:
    """Return what a stream still tells before it ends with a code."""
    told: list[str] = []

    async def read() -> None:
        while True:
            told.append((await events.read()).data.decode())

    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await asyncio.wait_for(read(), 5)
    assert raised.value.code() is code
    return told


@pytest.mark.parametrize("quiet", [True, False])
async def test_a_stream_ends_with_its_key(keyed: RestWorld, quiet: bool) -> None:
    """At the next heartbeat, or at the next event, of which it tells no more; over HTTP/1.1 its last event says why."""
    events = keyed.call("WatchEvents", f"{API}/events", **by("viewer"))
    await events.read()
    del keyed.world.callers["viewer"]
    if not quiet:
        await keyed.ask("LoadModel", f"{API}/load", {**LOAD, "version_id": "int8", "source_uri": "file:int8"})
    told = await until_the_end(events)
    assert "CALLER_UNKNOWN" in told[-1]
    assert told[-1].startswith("event: failure")
    assert not any("minilm" in each for each in told)


async def test_a_rollouts_stream_ends_with_its_key(keyed: RestWorld) -> None:
    """And with its scope: a key that is for another model now is refused as one that asks anew."""
    update = {**LOAD, "version_id": "int8", "source_uri": "file:int8", "policy": {"stages_percent": [100]}}
    rollout = (await keyed.ask("UpdateModel", f"{API}/update", update))["metadata"]["rollout"]
    revoked, narrowed = (
        keyed.call("WatchRollout", f"{API}/{rollout}/watch", **by(each)) for each in ("viewer", "viewer-minilm")
    )
    await revoked.read()
    await narrowed.read()
    del keyed.world.callers["viewer"]
    keyed.world.callers["viewer-minilm"] = GatewayCaller("key/viewer-minilm", Role.VIEWER, ("other",))
    await until_the_end(revoked)
    await until_the_end(narrowed, CODE.PERMISSION_DENIED)


async def test_openai_lists_a_keys_own_models(keyed: RestWorld) -> None:
    """OpenAI's list has the caller's models, and another one is refused whether it is there or not."""

    async def listed(client: str) -> list[str]:
        answer = await keyed.openai.ListOpenAiModels(
            openai_pb2.ListOpenAiModelsRequest(), metadata=((CLIENT_HEADER, client),)
        )
        return [each.id for each in answer.data]

    assert await listed("viewer") == ["minilm"]
    assert await listed("viewer-minilm") == ["minilm"]
    assert await listed("viewer-other") == []
    for name in ("minilm", "nobody"):
        metadata = (("x-envoy-original-path", f"/v1/models/{name}"), (CLIENT_HEADER, "viewer-other"))
        call = keyed.openai.GetOpenAiModel(openai_pb2.GetOpenAiModelRequest(id=name), metadata=metadata)
        await failed(call, Reason.CALLER_NOT_ALLOWED, CODE.PERMISSION_DENIED)


async def test_operations_name_their_key(keyed: RestWorld) -> None:
    """A command through the gateway is given in its key's name; one over gRPC, or without a key, in nobody's."""
    await keyed.ask(
        "LoadModel", f"{API}/load", {**LOAD, "version_id": "v2", "source_uri": "file:int8"}, **by("operator")
    )
    await keyed.ask("DeleteModel", f"{API}/models/minilm?force=true", **by("admin"))
    principals = [each.principal for each in keyed.world.handle.state.operations.values()]
    assert principals == ["local", "key/operator", "key/admin"]
