"""Bad input: every violation at once, names, unknown fields, page tokens."""

from __future__ import annotations

import base64
from typing import Any, cast

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2

from echoplane.googleapis import operations_pb2 as longrunning_pb2
from echoplane.v1 import diagnostics_pb2, models_pb2, planning_pb2, rollouts_pb2
from echoplaned.core.errors import FieldInvalidError
from echoplaned.core.failure import Reason
from echoplaned.rpc import server
from echoplaned.rpc.paging import PageQuery
from echoplaned.rpc.validate import check, compile_rules
from tests.turning import counted_turns

from .world import World, failed

CODE = grpc.StatusCode
# Tokens of the right list whose place is no number, or one that no place has.
NUMBERS_THAT_ARE_NONE = [
    base64.urlsafe_b64encode(f'["{PageQuery("ListModels").digest}",{place}]'.encode()).decode().rstrip("=")
    for place in ("NaN", "-Infinity", "1e999", "[]", "null", "true")
]


async def test_all_violations_at_once(world: World) -> None:
    """Every field that is wrong is named, nested ones by their path, in one answer."""
    request = models_pb2.UpdateModelRequest(
        model_id="A/b",
        version_id="..",
        dtype=cast(Any, 77),
        replicas=-1,
        labels={"K!": "v", "ok": "x" * 300},
        policy=rollouts_pb2.RolloutPolicy(stages_percent=[5, 500], alpha=2, stage_min_s=9, stage_max_s=3),
    )
    found = await failed(world.stubs.models.UpdateModel(request), Reason.FIELD_INVALID, CODE.INVALID_ARGUMENT)
    assert found.fields == {
        "model_id",
        "version_id",
        "dtype",
        "replicas",
        'labels["K!"]',
        'labels["ok"]',
        "policy.stages_percent",
        "policy.stages_percent[1]",
        "policy.alpha",
        "policy.stage_min_s",
    }


async def test_rules_are_compiled_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first call of a method does not wait for its rules: they were read when the daemon began, while its loop went on."""
    compiled: list[str] = []

    def note(request: type[Message]) -> None:
        compiled.append(request.DESCRIPTOR.full_name)
        compile_rules(request)

    monkeypatch.setattr(server, "compile_rules", note)
    async with counted_turns() as turns:
        await server.compile_all_rules()
    ours = {
        "echoplane.v1.LoadModelRequest",
        "echoplane.v1.UpdateModelRequest",
        "google.longrunning.WaitOperationRequest",
    }
    assert ours <= set(compiled)
    assert len(compiled) == len(set(compiled))
    assert turns.count >= len(compiled)


@pytest.mark.parametrize("name", ["a/b", "..", "models/..", "minilm\n", "a" * 10_000, "models/a/b", "", "MiniLM"])
async def test_bad_model_names(world: World, name: str) -> None:
    """A name with a slash, two dots, a newline or 10,000 characters is FIELD_INVALID wherever it is taken."""
    models, status = world.stubs.models, world.stubs.status
    calls = [
        models.GetModel(models_pb2.GetModelRequest(name=name)),
        models.DeleteModel(models_pb2.DeleteModelRequest(name=name)),
        models.GetModelHealth(models_pb2.GetModelHealthRequest(name=name)),
        models.CheckModelHealth(models_pb2.CheckModelHealthRequest(name=name)),
        models.LoadModel(models_pb2.LoadModelRequest(model_id=name, source_uri="file:fp32")),
        models.ListModelVersions(models_pb2.ListModelVersionsRequest(parent=name)),
        status.Explain(diagnostics_pb2.ExplainRequest(name=name or "/")),
        world.stubs.operations.GetOperation(longrunning_pb2.GetOperationRequest(name=f"{name}/")),
    ]
    for call in calls:
        await failed(call, Reason.FIELD_INVALID, CODE.INVALID_ARGUMENT)


@pytest.mark.parametrize("name", ["minilm", "models/minilm"])
async def test_bare_ids_are_taken(world: World, name: str) -> None:
    """A model is named by its full name or by its bare id."""
    await world.load("fp32")
    model = await world.stubs.models.GetModel(models_pb2.GetModelRequest(name=name))
    assert model.name == "models/minilm"
    health = await world.stubs.models.GetModelHealth(models_pb2.GetModelHealthRequest(name=name))
    assert health.name == "models/minilm"


async def test_unknown_fields(world: World) -> None:
    """A field that this version does not know is refused, at the top and inside, and never ignored."""
    good = models_pb2.UpdateModelRequest(model_id="minilm", source_uri="file:fp32", policy=rollouts_pb2.RolloutPolicy())
    unknown = b"\xfa\x06\x01a"  # field 111, one byte long
    policy = rollouts_pb2.RolloutPolicy.FromString(unknown)
    for sent, field in (
        (good.SerializeToString() + unknown, "111"),
        (
            models_pb2.UpdateModelRequest(model_id="a", source_uri="file:a", policy=policy).SerializeToString(),
            "policy.111",
        ),
    ):
        raw = cast(Any, world.stubs.channel).unary_unary("/echoplane.v1.ModelService/UpdateModel")
        found = await failed(raw(sent), Reason.FIELD_INVALID, CODE.INVALID_ARGUMENT)
        assert found.fields == {field}
    inner = planning_pb2.PlanModelRequest.FromString(unknown)
    inner.source_uri = "file:fp32"
    batch = planning_pb2.BatchPlanModelsRequest(requests=[planning_pb2.PlanModelRequest(source_uri="file:fp32"), inner])
    call = world.stubs.planning.BatchPlanModels(batch)
    assert (await failed(call, Reason.FIELD_INVALID, CODE.INVALID_ARGUMENT)).fields == {"requests[1].111"}


async def test_unknown_field_beside_others(world: World) -> None:
    """An unknown field and broken rules are told together."""
    sent = models_pb2.GetModelRequest(name="..").SerializeToString() + b"\xfa\x06\x01a"
    raw = cast(Any, world.stubs.channel).unary_unary("/echoplane.v1.ModelService/GetModel")
    found = await failed(raw(sent), Reason.FIELD_INVALID, CODE.INVALID_ARGUMENT)
    assert found.fields == {"111", "name"}


async def test_not_a_message(world: World) -> None:
    """Bytes that are no message are INVALID_ARGUMENT, and the server goes on."""
    raw = cast(Any, world.stubs.channel).unary_unary("/echoplane.v1.ModelService/GetModel")
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await raw(b"\xff\xff\xff")
    assert raised.value.code() is CODE.INVALID_ARGUMENT
    assert (await world.stubs.models.ListModels(models_pb2.ListModelsRequest())).models == []


async def test_many_violations_fit_into_the_trailers(world: World) -> None:
    """Sixty-four wrong labels with long keys still arrive as FIELD_INVALID, the first ones named and the rest counted."""
    labels = {f"{index:02d}" + "!" * 900: "v" for index in range(64)}
    request = models_pb2.LoadModelRequest(model_id="minilm", source_uri="file:fp32", labels=labels)
    found = await failed(world.stubs.models.LoadModel(request), Reason.FIELD_INVALID, CODE.INVALID_ARGUMENT)
    violations = found.detail(error_details_pb2.BadRequest).field_violations
    assert violations[-1].description == "and 48 more"
    assert len(found.status.SerializeToString()) <= 4096


async def test_too_large_a_message(world: World) -> None:
    """A message over the transport's limit is refused by gRPC itself, before it is read."""
    request = models_pb2.LoadModelRequest(model_id="minilm", source_uri="file:" + "x" * (5 * 1024 * 1024))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await world.stubs.models.LoadModel(request)
    assert raised.value.code() is CODE.RESOURCE_EXHAUSTED


async def test_unexpected_error_tells_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody foresaw is INTERNAL without a word of what is inside."""

    def explode(_path: object) -> None:
        raise RuntimeError("secret: /etc/shadow")

    monkeypatch.setattr(type(world.planning), "inspect", lambda _self, path: explode(path))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await world.load("fp32")
    assert raised.value.code() is CODE.INTERNAL
    assert "secret" not in str(raised.value)
    assert ("LoadModel", "INTERNAL") in world.ended.seen


@pytest.mark.parametrize("token", ["x", "AAAA", "W10", "ü", "x" * 900, "WyJhIiwxXQ", *NUMBERS_THAT_ARE_NONE])
async def test_bad_page_tokens(world: World, token: str) -> None:
    """A token that is not ours, or of another list, is PAGE_TOKEN_INVALID."""
    call = world.stubs.models.ListModels(models_pb2.ListModelsRequest(page_token=token))
    found = await failed(call, Reason.PAGE_TOKEN_INVALID, CODE.INVALID_ARGUMENT)
    assert found.fields == {"page_token"}


async def test_page_token_of_another_query(world: World) -> None:
    """A token goes with the query that it came from."""
    for version in ("fp32", "int8"):
        await world.load(version, "minilm")
        await world.load(version, "bert")
    versions = world.stubs.models.ListModelVersions
    first = await versions(models_pb2.ListModelVersionsRequest(parent="minilm", page_size=1))
    token = first.next_page_token
    other = models_pb2.ListModelVersionsRequest(parent="bert", page_size=1, page_token=token)
    await failed(versions(other), Reason.PAGE_TOKEN_INVALID, CODE.INVALID_ARGUMENT)
    second = await versions(models_pb2.ListModelVersionsRequest(parent="models/minilm", page_token=token))
    assert (len(first.versions), len(second.versions), second.next_page_token) == (1, 1, "")
    assert first.versions[0].name != second.versions[0].name


async def test_pages_of_models(world: World) -> None:
    """Pages follow the names; a model that goes between two pages moves nothing."""
    for name in ("a", "b", "c", "d"):
        await world.load("fp32", name)
    models = world.stubs.models
    first = await models.ListModels(models_pb2.ListModelsRequest(page_size=2))
    assert [m.name for m in first.models] == ["models/a", "models/b"]
    await models.DeleteModel(models_pb2.DeleteModelRequest(name="b"))
    second = await models.ListModels(models_pb2.ListModelsRequest(page_size=5, page_token=first.next_page_token))
    assert [m.name for m in second.models] == ["models/c", "models/d"]
    call = models.ListModels(models_pb2.ListModelsRequest(page_size=-1))
    assert (await failed(call, Reason.FIELD_INVALID, CODE.INVALID_ARGUMENT)).fields == {"page_size"}


async def test_calls_are_counted(world: World) -> None:
    """Every call is told to the observer, once, with its method and code."""
    await world.stubs.models.ListModels(models_pb2.ListModelsRequest())
    call = world.stubs.models.GetModel(models_pb2.GetModelRequest(name="nobody"))
    await failed(call, Reason.MODEL_NOT_FOUND, CODE.NOT_FOUND)
    assert world.ended.seen == [("ListModels", "OK"), ("GetModel", "NOT_FOUND")]


UNCLEAN = [
    "a\xadb",
    "\ufe0f",
    "\u3164",
    "e" + "\u0301" * 200,
    "a\nb",
    "\x1b[2J\x1b[31m",
    "\x00",
    "a\u202egnp.exe",
    "\x9b31m",
    "\x7f",
    "\u2028",
]


@pytest.mark.parametrize("text", UNCLEAN)
async def test_text_that_cannot_be_shown(world: World, text: str) -> None:
    """Controls and marks that turn text round are refused in every field that takes text, each field named."""
    policy = rollouts_pb2.RolloutPolicy(name=text)
    update = models_pb2.UpdateModelRequest(
        model_id="minilm",
        version_id="v2",
        source_uri="file:fp32",
        labels={"ok": text},
        engine_options={"torch_threads": text},
        policy=policy,
        etag=text,
    )
    found = await failed(world.stubs.models.UpdateModel(update), Reason.FIELD_INVALID, CODE.INVALID_ARGUMENT)
    assert found.fields >= {'labels["ok"]', 'engine_options["torch_threads"]', "policy.name", "etag"}
    promote = rollouts_pb2.PromoteRolloutRequest(name="models/m/rollouts/r1", reason=text)
    found = await failed(world.stubs.rollouts.PromoteRollout(promote), Reason.FIELD_INVALID, CODE.INVALID_ARGUMENT)
    assert found.fields == {"reason"}


def test_a_field_is_named_once() -> None:
    """Where a pattern says already that a text is none, it is not said twice."""
    request = models_pb2.LoadModelRequest(model_id="a\nb", source_uri="file:\n")
    with pytest.raises(FieldInvalidError) as refused:
        check(request)
    assert sorted(violation.field for violation in refused.value.failure.violations) == ["model_id", "source_uri"]


async def test_text_of_every_script(world: World) -> None:
    """Words of any script, and emoji that are joined of several, are text."""
    labels = {"a": "größer", "b": "模型", "c": "👩‍🔬", "d": "نموذج"}
    await world.load("fp32", labels=labels)
    model = await world.stubs.models.GetModel(models_pb2.GetModelRequest(name="minilm"))
    assert dict(model.labels) == labels


async def test_garbage_on_a_stream_of_requests(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    """Reflection too answers bytes that are no request with INVALID_ARGUMENT, and the log has no traceback of it."""
    call = cast(Any, world.stubs.channel).stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")()
    await call.write(b"\xff\xff\xff")
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call.read()
    assert raised.value.code() is CODE.INVALID_ARGUMENT
    assert "Traceback" not in capfd.readouterr().err
