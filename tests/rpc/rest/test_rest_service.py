"""Every route calls the API's own servicer, and refuses what the transcoder would have let through."""

from __future__ import annotations

import json
from typing import Any, cast

import grpc
import pytest

from echoplaned.core.failure import Reason
from tests.rpc.world import failed

from .rest_world import API, RestWorld

CODE = grpc.StatusCode
LOAD = {"model_id": "minilm", "version_id": "fp32", "source_uri": "file:fp32", "aliases": ["Org/MiniLM"]}


async def refused(call: Any, *fields: str) -> None:
    """Await a call that must be FIELD_INVALID for these fields."""
    found = await failed(call, Reason.FIELD_INVALID, CODE.INVALID_ARGUMENT)
    assert found.fields == set(fields)


async def test_reads(rest: RestWorld) -> None:
    """Each read answers with the message that gRPC answers with, default values included."""
    operation = await rest.ask("LoadModel", f"{API}/load", LOAD)
    model = await rest.ask("GetModel", f"{API}/models/minilm")
    assert (model["name"], model["aliases"], model["rollout"]) == ("models/minilm", ["Org/MiniLM"], "")
    assert (await rest.ask("ListModels", f"{API}/models?page_size=1"))["models"] == [model]
    assert (await rest.ask("GetModelHealth", f"{API}/health/minilm"))["state"] == "HEALTH_STATE_SERVING"
    assert (await rest.ask("CheckModelHealth", f"{API}/health_check/minilm"))["name"] == "models/minilm"
    assert (await rest.ask("CheckModelHealth", f"{API}/health_check/models%2Fminilm", {}))["name"] == "models/minilm"
    assert (await rest.ask("GetStatus", f"{API}/status"))["models"][0]["version_count"] == 1
    metrics = await rest.ask("GetMetrics", f"{API}/metrics?model=minilm")
    assert metrics["versions"][0]["cache_miss_count"] == "1"
    assert (await rest.ask("GetHealth", "/health"))["state"] == "HEALTH_STATE_SERVING"
    assert operation["name"].startswith("operations/")
    assert "done" in operation


async def test_operations(rest: RestWorld) -> None:
    """They are listed, looked at, cancelled and deleted by their bare ids."""
    rest.world.script.start = False
    name = (await rest.ask("LoadModel", f"{API}/load", LOAD))["name"]
    path = f"{API}/{name}"
    listed = await rest.ask("ListOperations", f"{API}/operations?filter=done%3Dfalse")
    assert [each["name"] for each in listed["operations"]] == [name]
    assert (await rest.ask("GetOperation", path))["done"] is False
    await failed(rest.call("DeleteOperation", path), Reason.STATE_INVALID, CODE.FAILED_PRECONDITION)
    assert await rest.ask("CancelOperation", f"{path}:cancel", {}) == {}
    ended = await rest.ask("GetOperation", path)
    assert (ended["done"], ended["error"]["code"]) == (True, CODE.CANCELLED.value[0])
    assert await rest.ask("DeleteOperation", path) == {}
    await failed(rest.call("GetOperation", path), Reason.OPERATION_NOT_FOUND, CODE.NOT_FOUND)


async def test_rollouts(rest: RestWorld) -> None:
    """An update's rollout is listed beneath its model, shown, and told as it changes."""
    await rest.ask("LoadModel", f"{API}/load", LOAD)
    update = {
        "model_id": "minilm",
        "version_id": "int8",
        "source_uri": "file:int8",
        "policy": {"stages_percent": [100]},
    }
    operation = await rest.ask("UpdateModel", f"{API}/update", update)
    name = operation["metadata"]["rollout"]
    listed = await rest.ask("ListRollouts", f"{API}/models/minilm/rollouts")
    assert [each["name"] for each in listed["rollouts"]] == [name]
    assert (await rest.ask("GetRollout", f"{API}/{name}"))["to_version"] == "models/minilm/versions/int8"
    events = rest.events("WatchRollout", f"{API}/{name}/watch")
    assert await anext(events) == "retry: 1000\n\n"
    identity, data = (await anext(events)).splitlines()[:2]
    assert json.loads(data.removeprefix("data: "))["name"] == name
    assert await anext(events) == ":\n\n"
    again = rest.events("WatchRollout", f"{API}/{name}/watch", last=identity.removeprefix("id: "))
    assert [await anext(again), await anext(again)] == ["retry: 1000\n\n", ":\n\n"]


async def test_a_typing_error_loads_nothing(rest: RestWorld) -> None:
    """An unknown field of a body, a body of another type, and parameters on a route that has none are refused."""
    await refused(rest.call("LoadModel", f"{API}/load", {**LOAD, "validate_onyl": True}), "validate_onyl")
    await refused(rest.call("LoadModel", f"{API}/load", LOAD, content_type="text/plain"), "content-type")
    await refused(rest.call("LoadModel", f"{API}/load"), "body")
    await refused(rest.call("LoadModel", f"{API}/load?validate_only=true", LOAD), "validate_only")
    await refused(rest.call("LoadModel", f"{API}/load", {}), "model_id", "source_uri")
    await refused(
        rest.call("LoadModel", f"{API}/load", {**LOAD, "aliases": ["a\n", "b", "b"]}), "aliases", "aliases[0]"
    )
    assert rest.world.handle.submitted == []
    planned = await rest.ask("LoadModel", f"{API}/load", {**LOAD, "validate_only": True})
    assert (planned["name"], planned["done"], planned["metadata"]["plan"]["fits"]) == ("", True, True)


async def test_a_delete_means_what_its_path_says(rest: RestWorld) -> None:
    """Whatever the transcoder bound, the query or a body say: another model is never deleted."""
    await rest.ask("LoadModel", f"{API}/load", LOAD)
    for query in ("name=minilm", "%6eame=minilm", "name=x&name=minilm", "Name=minilm"):
        await refused(
            rest.call("DeleteModel", f"{API}/models/x?{query}", name="minilm"),
            query.partition("=")[0].replace("%6e", "n"),
        )
    await refused(rest.call("DeleteModel", f"{API}/models/x", name="minilm"), "name")
    await refused(rest.call("DeleteModel", f"{API}/models/minilm", {"force": True}), "body")
    await refused(rest.call("DeleteModel", f"{API}/models/minilm?force=1"), "force")
    assert "minilm" in rest.world.handle.state.models
    assert (await rest.ask("DeleteModel", f"{API}/models/x?allow_missing=true"))["done"] is True
    deleted = await rest.ask("DeleteModel", f"{API}/models/minilm?force=true&request_id=r1")
    assert deleted["metadata"]["request_id"] == "r1"
    assert "minilm" not in rest.world.handle.state.models


async def test_pages_and_numbers_of_a_query(rest: RestWorld) -> None:
    """A number that is none, or out of its rule, names its parameter."""
    await refused(rest.call("ListModels", f"{API}/models?page_size=x"), "page_size")
    await refused(rest.call("ListModels", f"{API}/models?page_size=1_0"), "page_size")
    await refused(rest.call("ListModels", f"{API}/models?page_size=1001"), "page_size")
    await failed(
        rest.call("ListModels", f"{API}/models?page_token=x"), Reason.PAGE_TOKEN_INVALID, CODE.INVALID_ARGUMENT
    )


async def test_calls_are_counted_and_shared_with_grpc(rest: RestWorld) -> None:
    """A request id that came over gRPC is known here, and every call is counted by its method and code."""
    operation = await rest.world.load(request_id="r1", aliases=["Org/MiniLM"])
    assert (await rest.ask("LoadModel", f"{API}/load", {**LOAD, "request_id": "r1"}))["name"] == operation.name
    await failed(
        rest.call("LoadModel", f"{API}/load", {**LOAD, "request_id": "r1", "replicas": 2}),
        Reason.REQUEST_ID_REUSED,
        CODE.INVALID_ARGUMENT,
    )
    await rest.world.ended.wait_for("LoadModel", "INVALID_ARGUMENT")


async def test_health_is_unavailable_where_it_does_not_serve(rest: RestWorld) -> None:
    """Whoever asks over HTTP looks at the status alone."""
    rest.world.store_writable = False
    assert (await rest.ask("GetHealth", "/health"))["state"] == "HEALTH_STATE_DEGRADED"
    rest.world.lifecycle.begin_stop()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await rest.call("GetHealth", "/health")
    assert caught.value.code() is CODE.UNAVAILABLE


async def test_events(rest: RestWorld) -> None:
    """They come with ids, go on after the one that a client saw last, and are kept alive in between."""
    events = rest.events("WatchEvents", f"{API}/events?model=minilm")
    assert [await anext(events), await anext(events)] == ["retry: 1000\n\n", ":\n\n"]
    await rest.ask("LoadModel", f"{API}/load", LOAD)
    seen: list[tuple[str, Any]] = []
    while len(seen) < 2:
        chunk = await anext(events)
        if chunk.startswith("id: "):
            identity, data = chunk.splitlines()[:2]
            seen.append((identity.removeprefix("id: "), json.loads(data.removeprefix("data: "))))
    assert [token for token, _ in seen] == [event["resume_token"] for _, event in seen]
    for path in (f"{API}/events", f"{API}/events?resume_token={seen[1][0]}"):
        again = rest.events("WatchEvents", path, last=seen[0][0])
        await anext(again)
        assert (await anext(again)).startswith(f"id: {seen[1][0]}\n")


async def test_a_stream_that_cannot_begin_has_a_status_of_its_own(rest: RestWorld) -> None:
    """An error before the first message is no event."""
    streams = [
        ("WatchEvents", "events?resume_token=x", Reason.PAGE_TOKEN_INVALID, CODE.INVALID_ARGUMENT),
        ("WatchEvents", "events?token=x", Reason.FIELD_INVALID, CODE.INVALID_ARGUMENT),
        ("WatchRollout", "models/m/rollouts/r/watch", Reason.ROLLOUT_NOT_FOUND, CODE.NOT_FOUND),
    ]
    for method, path, reason, code in streams:
        await failed(anext(aiter(rest.call(method, f"{API}/{path}"))), reason, code)


async def test_a_stream_says_why_it_ends(rest: RestWorld) -> None:
    """An error after the first message is an event, as over HTTP/1.1 it would be nowhere else."""
    events = rest.events("WatchEvents", f"{API}/events")
    await anext(events)
    rest.world.lifecycle.begin_stop()
    chunk = await anext(events)
    while chunk == ":\n\n":
        chunk = await anext(events)
    kind, data = chunk.splitlines()[:2]
    assert (kind, json.loads(data.removeprefix("data: "))["code"]) == ("event: failure", CODE.UNAVAILABLE.value[0])
    with pytest.raises(grpc.aio.AioRpcError):
        await anext(events)


async def test_without_the_gateway_nothing_is_believed(rest: RestWorld) -> None:
    """A call that does not say what the original path was is refused."""
    call = cast(Any, rest.channel).unary_unary("/echoplane.gateway.v1.RestService/DeleteModel")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(b"\n\x06minilm")
    assert caught.value.code() is CODE.INVALID_ARGUMENT
