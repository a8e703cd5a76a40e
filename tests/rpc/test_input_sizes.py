"""Requests that are too large: judged by their size, before anything in them is read."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, cast

import grpc
import pytest

from echoplane.v1 import models_pb2, planning_pb2, rollouts_pb2
from echoplaned.core.errors import FieldInvalidError
from echoplaned.core.failure import Reason
from echoplaned.rpc.validate import MAX_ENTRIES, MAX_REQUEST_BYTES, MAX_SHORT_REQUEST_BYTES, check

from .world import World, failed

CODE = grpc.StatusCode


@pytest.mark.parametrize("count", [MAX_ENTRIES + 1, 100_000])
async def test_what_is_crowded_is_not_read(world: World, count: int) -> None:
    """A map or list with far more entries than are allowed is refused by its count, in milliseconds, and named alone."""
    labels = {f"K!{number}": "v" for number in range(count)}
    request = models_pb2.LoadModelRequest(model_id="No Name", source_uri="file:fp32", labels=labels)
    began = time.process_time()
    with pytest.raises(FieldInvalidError) as refused:
        check(request)
    assert time.process_time() - began < 0.1
    assert [violation.field for violation in refused.value.failure.violations] == ["labels"]
    mask = models_pb2.ConfigureModelRequest(name="minilm", update_mask={"paths": ["labels"] * count})
    with pytest.raises(FieldInvalidError) as crowded:
        check(mask)
    assert [violation.field for violation in crowded.value.failure.violations] == ["update_mask.paths"]


async def test_unknown_fields_without_end(world: World) -> None:
    """Five thousand fields that nobody knows make a hundred violations; of a hundred thousand none is read."""
    raw = cast(Any, world.stubs.channel).unary_unary("/echoplane.v1.ModelService/GetModel")
    named = models_pb2.GetModelRequest(name="minilm").SerializeToString()
    for count, fields in ((5_000, {"111", ""}), (100_000, {""})):
        call = raw(named + b"\xf8\x06\x01" * count)
        found = await failed(call, Reason.FIELD_INVALID, CODE.INVALID_ARGUMENT)
        assert found.fields == fields


@pytest.mark.parametrize(
    ("method", "count"),
    [
        ("/echoplane.v1.ModelService/LoadModel", MAX_REQUEST_BYTES),
        ("/grpc.health.v1.Health/Check", MAX_SHORT_REQUEST_BYTES),
        ("/google.longrunning.Operations/GetOperation", MAX_SHORT_REQUEST_BYTES),
    ],
)
async def test_too_many_bytes_for_a_method(world: World, method: str, count: int) -> None:
    """What is larger than any request of the method is refused before it is parsed, with the number of bytes that are read."""
    raw = cast(Any, world.stubs.channel).unary_unary(method)
    found = await failed(raw(b"\x0a" + b"x" * count), Reason.FIELD_INVALID, CODE.INVALID_ARGUMENT)
    assert str(count) in found.message


@pytest.mark.parametrize(
    "method",
    [
        "grpc.health.v1.Health/Watch",
        "echoplane.v1.RolloutService/WatchRollout",
        "echoplane.v1.StatusService/WatchEvents",
    ],
)
async def test_a_watch_keeps_no_long_request(world: World, method: str) -> None:
    """A stream of answers lives as long as its client likes, and its request with it: a name said 1,000 times is long as well."""
    call = cast(Any, world.stubs.channel).unary_stream(f"/{method}")(b"\x0a\x08models/x" * 1000)
    await failed(call.read(), Reason.FIELD_INVALID, CODE.INVALID_ARGUMENT)


OPTIONS = {f"!{number}": "" for number in range(64)}
MANY_PLANS = [planning_pb2.PlanModelRequest(engine_options=OPTIONS | {f"?{n}": "" for n in range(16)})] * 999
BAD_PLANS = [planning_pb2.PlanModelRequest(engine_options=OPTIONS)] * 100
UNKNOWN = b"\xfa\x06\x01a"  # field 111, one byte long


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (planning_pb2.BatchPlanModelsRequest(requests=MANY_PLANS), {"requests"}),
        (planning_pb2.BatchPlanModelsRequest(requests=MANY_PLANS[:1]), {"requests[0].engine_options"}),
        (planning_pb2.BatchPlanModelsRequest(requests=BAD_PLANS), {"requests[0].source_uri"}),
        (
            models_pb2.UpdateModelRequest(
                policy=rollouts_pb2.RolloutPolicy(stages_percent=[500] * 999), labels=OPTIONS | {"a": ""}
            ),
            {"policy.stages_percent", "labels"},
        ),
        (models_pb2.LoadModelRequest.FromString(UNKNOWN * 200_000), {""}),
        (
            planning_pb2.BatchPlanModelsRequest(
                requests=[planning_pb2.PlanModelRequest.FromString(UNKNOWN * 2600)] * 99
            ),
            {""},
        ),
    ],
    ids=["batch", "nested", "bad", "policy", "unknown", "unknown-nested"],
)
def test_sizes_are_judged_before_entries(request_: Any, fields: set[str]) -> None:
    """A list or map with more entries than its rule allows is named alone; of many broken entries the first is."""
    times = []
    for _ in range(3):
        began = time.process_time()
        with pytest.raises(FieldInvalidError) as refused:
            check(request_)
        times.append(time.process_time() - began)
        assert {violation.field for violation in refused.value.failure.violations} == fields
    assert min(times) < 0.05


@pytest.mark.parametrize(
    ("stages", "fields"),
    [
        (range(1, 101), set()),
        ((*range(1, 99), 100, 99), {"policy.stages_percent"}),
        ((*range(1, 50), 51, 50, *range(52, 101), 100), {"policy.stages_percent"}),
        (range(2, 102), {"policy.stages_percent", "policy.stages_percent[99]"}),
        (range(100), {"policy.stages_percent", "policy.stages_percent[0]"}),
        (range(1, 102), {"policy.stages_percent"}),
    ],
    ids=["all", "falling", "twice", "above", "below", "many"],
)
def test_a_stage_for_every_percent(stages: Iterable[int], fields: set[str]) -> None:
    """A hundred stages are the most that there can be: they are read, or named where they do not rise."""
    policy = rollouts_pb2.RolloutPolicy(stages_percent=stages)
    found = set()
    try:
        check(models_pb2.UpdateModelRequest(model_id="a", source_uri="file:a", policy=policy))
    except FieldInvalidError as error:
        found = {violation.field for violation in error.failure.violations}
    assert found == fields


def test_as_many_as_a_rule_allows_are_read() -> None:
    """At its bound a map is no crowd, and each of its broken keys is named."""
    request = models_pb2.LoadModelRequest(model_id="a", source_uri="file:a", labels=OPTIONS)
    with pytest.raises(FieldInvalidError) as refused:
        check(request)
    assert {violation.field for violation in refused.value.failure.violations} == {
        f'labels["{key}"]' for key in OPTIONS
    }
    request.labels["!64"] = ""
    with pytest.raises(FieldInvalidError) as crowded:
        check(request)
    assert [(each.field, each.description) for each in crowded.value.failure.violations] == [
        ("labels", "has 65 entries, at most 64 are allowed: nothing of it was read")
    ]
