"""What callers ask for wrongly, twice, at once, or beyond what fits: each has its answer, and changes nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import grpc
import pytest

from echoplane.channels import DIRECT_OPTIONS
from echoplane.errors import EchoplaneError
from echoplane.v1 import models_pb2, planning_pb2, rollouts_pb2
from tests.e2e import e2e_system as e

Code = grpc.StatusCode
MIB = 1024 * 1024
LOAD_METHOD = "/echoplane.v1.ModelService/LoadModel"


@pytest.fixture(scope="module")
def serving(system: e.System) -> e.System:
    """The shared daemon, with the model ``kept`` in version v1."""
    system.load("kept")
    return system


@pytest.mark.parametrize(
    "name",
    [
        "a/b",
        "..",
        "../../etc",
        "a\nb",
        "a" * 10_000,
        "",
        "Upper",
        "-first",
        "last-",
        "a b",
        "é",
        "\x00",
        "models/x/versions/y",
    ],
    ids=repr,
)
def test_names_that_are_none(serving: e.System, name: str) -> None:
    """A name outside the pattern is FIELD_INVALID with the field named, in every call that takes one."""
    before = serving.listing()
    with e.refused("FIELD_INVALID", Code.INVALID_ARGUMENT) as caught:
        serving.client.load_model(
            models_pb2.LoadModelRequest(model_id=name, version_id="v1", source_uri=serving.made.uri("encoder"))
        )
    assert [v.field for v in caught.value.failure.field_violations] == ["model_id"]
    calls = [
        lambda: serving.client._models.GetModel(models_pb2.GetModelRequest(name=name)),
        lambda: serving.client._models.DeleteModel(models_pb2.DeleteModelRequest(name=name, allow_missing=True)),
        lambda: serving.client._models.GetModelVersion(
            models_pb2.GetModelVersionRequest(name=f"models/kept/versions/{name}")
        ),
    ]
    for call in calls:
        with pytest.raises(grpc.RpcError) as raw:
            call()
        assert raw.value.code() is Code.INVALID_ARGUMENT
    assert serving.listing() == before


def test_every_violation_at_once(serving: e.System) -> None:
    """One answer names all the fields that are wrong, each with what it may be."""
    request = models_pb2.UpdateModelRequest(
        model_id="No Name",
        version_id="../v",
        source_uri="file:\n",
        engine="No Engine",
        context_length=-1,
        max_concurrency=5000,
        replicas=65,
        request_id="a b",
        policy=rollouts_pb2.RolloutPolicy(stages_percent=[50, 5], max_error_increase=2.0, alpha=0.5),
    )
    with e.refused("FIELD_INVALID", Code.INVALID_ARGUMENT) as caught:
        serving.client.update_model(request)
    found = {violation.field: violation.description for violation in caught.value.failure.field_violations}
    wrong = {"model_id", "version_id", "source_uri", "engine", "context_length", "max_concurrency", "replicas"}
    wrong |= {"request_id", "policy.max_error_increase", "policy.alpha"}
    assert wrong <= found.keys()
    assert any("stages_percent" in text for text in (*found, *found.values())), found
    assert all(found.values())


def test_a_field_that_nobody_knows(serving: e.System) -> None:
    """A field of a newer client is refused, not ignored: it could mean something."""
    known = serving.load_request("unknown").SerializeToString()
    unknown = known + bytes([0xA2, 0xFA, 0x01, 2]) + b"hi"  # field 4004, length-delimited
    before = serving.listing()
    with grpc.insecure_channel(serving.daemon.address, DIRECT_OPTIONS) as channel, pytest.raises(grpc.RpcError) as raw:
        cast(Any, channel).unary_unary(LOAD_METHOD)(unknown, timeout=10.0)
    assert raw.value.code() is Code.INVALID_ARGUMENT
    assert "4004" in str(raw.value.details()) or "unknown" in str(raw.value.details())
    assert serving.listing() == before


def test_a_message_of_200_mb(serving: e.System) -> None:
    """The transport refuses a message over its limit, and the daemon goes on answering."""
    options = (*DIRECT_OPTIONS, ("grpc.max_send_message_length", -1))
    with grpc.insecure_channel(serving.daemon.address, options) as channel, pytest.raises(grpc.RpcError) as raw:
        cast(Any, channel).unary_unary(LOAD_METHOD)(b"\x0a" + b"x" * (200 * MIB), timeout=30.0)
    assert raw.value.code() is Code.RESOURCE_EXHAUSTED
    assert serving.client.get_model("kept").serving_version == "models/kept/versions/v1"


def test_the_same_request_twice(serving: e.System) -> None:
    """The same id and body is the same operation, though others came between; another body is REQUEST_ID_REUSED."""
    request = serving.load_request("kept", request_id="once-and-again")
    first = serving.client.load_model(request)
    serving.client.load_model(serving.load_request("kept", request_id="another"))
    assert serving.client.load_model(request).name == first.name
    request.replicas = 2
    with e.refused("REQUEST_ID_REUSED", Code.INVALID_ARGUMENT) as caught:
        serving.client.load_model(request)
    assert [v.field for v in caught.value.failure.field_violations] == ["request_id"]
    update = models_pb2.UpdateModelRequest(
        model_id="kept", version_id="v1", source_uri=serving.made.uri("encoder"), request_id="once-and-again"
    )
    with e.refused("REQUEST_ID_REUSED", Code.INVALID_ARGUMENT):
        serving.client.update_model(update)
    assert len(list(serving.client.list_versions("kept"))) == 1


def test_the_same_request_at_once(serving: e.System) -> None:
    """Eight calls with one id that arrive together are one operation."""
    request = serving.load_request("kept", request_id="all-at-once")
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda _: serving.client.load_model(request).name, range(8)))
    assert len(set(names)) == 1


def test_a_version_that_exists(serving: e.System) -> None:
    """The same version id with other content, or other options, is VERSION_EXISTS; the same content is a cache hit."""
    before = serving.client.get_version("kept/v1").cache.hit_count
    serving.load("kept")
    assert serving.client.get_version("kept/v1").cache.hit_count == before + 1
    for changed in (serving.load_request("kept", source="better"), serving.load_request("kept", max_concurrency=3)):
        with e.refused("VERSION_EXISTS", Code.ALREADY_EXISTS) as caught:
            serving.client.load_model(changed)
        assert caught.value.failure.resource == "models/kept/versions/v1"


def test_another_embedding_width(serving: e.System) -> None:
    """A version whose answers have another width is SIGNATURE_CHANGED, and says which tensor differs."""
    before = serving.listing()
    with e.refused("SIGNATURE_CHANGED", Code.FAILED_PRECONDITION) as caught:
        serving.update("kept", "narrow", "narrow")
    text = caught.value.failure.message + str(caught.value.failure.violations)
    assert "embedding" in text
    assert "128" in text
    assert "64" in text
    assert "INTENDED" in text
    assert serving.listing() == before


def test_what_is_not_there(serving: e.System) -> None:
    """Names of nothing are NOT_FOUND with the resource named; an update of nothing says to load first."""
    with e.refused("MODEL_NOT_FOUND", Code.NOT_FOUND) as caught:
        serving.update("nobody", "v2", "better")
    assert caught.value.failure.resource == "models/nobody"
    with e.refused("VERSION_NOT_FOUND", Code.NOT_FOUND):
        serving.client.get_version("kept/v9")
    with e.refused("ROLLOUT_NOT_FOUND", Code.NOT_FOUND):
        serving.client.get_rollout("models/kept/rollouts/none")
    with e.refused("OPERATION_NOT_FOUND", Code.NOT_FOUND):
        serving.client.get_operation("operations/none")


def test_an_etag_of_yesterday(serving: e.System) -> None:
    """A change that rests on an old reading is refused, with the etag of now."""
    with e.refused("ETAG_MISMATCH", Code.ABORTED) as caught:
        serving.update("kept", "v2", "better", etag="yesterday")
    assert caught.value.failure.metadata["etag"] == serving.client.get_model("kept").etag


def test_two_updates_at_once(serving: e.System) -> None:
    """Of updates that come together one is taken; the others are ROLLOUT_ACTIVE and name it; then the first is aborted."""

    def attempt(number: int) -> str:
        try:
            return serving.update("kept", f"at-once-{number}", "better").name
        except EchoplaneError as error:
            assert error.failure.code is Code.ABORTED  # noqa: PT017 - one of the two calls raises, nobody knows which
            assert error.failure.resource  # noqa: PT017 - as above
            return error.reason

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(attempt, range(4)))
    assert answers.count("ROLLOUT_ACTIVE") == 3
    operation = next(answer for answer in answers if answer != "ROLLOUT_ACTIVE")
    with e.refused("ROLLOUT_ACTIVE", Code.ABORTED) as caught:
        serving.update("kept", "later", "better")
    assert caught.value.failure.resource == serving.client.get_model("kept").rollout
    serving.client.cancel_operation(operation)
    with pytest.raises(EchoplaneError) as ended:
        serving.finish(serving.client.get_operation(operation))
    assert ended.value.failure.code is Code.CANCELLED
    assert serving.client.get_model("kept").serving_version == "models/kept/versions/v1"
    assert not serving.client.get_model("kept").rollout


def test_loads_that_do_not_fit_together(own_system: e.MakeSystem) -> None:
    """One load fits, two do not, nor an update beside it: each refusal has a plan with bytes and what would fit, and changes nothing."""
    system = own_system("--host-memory-bytes", str(1400 * MIB), "--standby-workers", "0")
    free = next(iter(system.client.list_devices())).free_bytes
    concurrency = _concurrency_for(system, 0.6 * free)
    big: dict[str, Any] = {"max_concurrency": concurrency}
    both = [system.load_request(name, **big) for name in ("one", "two")]
    for request in both:
        plan = system.client.plan_model(_plan_request(request))
        assert plan.fits
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda request: _outcome(system, request), both))
    refusals = [error for error in answers if isinstance(error, EchoplaneError)]
    assert len(refusals) == 1, answers
    _check_plan(refusals[0], "MEMORY_INSUFFICIENT", Code.RESOURCE_EXHAUSTED)
    loaded = next(request.model_id for request, answer in zip(both, answers, strict=True) if answer is None)
    before = system.listing()
    with e.refused("MEMORY_INSUFFICIENT", Code.RESOURCE_EXHAUSTED) as caught:
        system.client.load_model(system.load_request("three", **big))
    _check_plan(caught.value, "MEMORY_INSUFFICIENT", Code.RESOURCE_EXHAUSTED)
    with e.refused("SURGE_INFEASIBLE", Code.FAILED_PRECONDITION) as surge:
        system.update(loaded, "v2", "better", **big)
    _check_plan(surge.value, "SURGE_INFEASIBLE", Code.FAILED_PRECONDITION)
    assert surge.value.plan is not None
    assert surge.value.plan.surge
    assert system.listing() == before
    device = next(iter(system.client.list_devices()))
    assert device.reserved_bytes <= device.capacity_bytes


def _outcome(system: e.System, request: models_pb2.LoadModelRequest) -> EchoplaneError | None:
    """Load; return None where it got ready, else the error, whether of the call or of the operation."""
    try:
        system.finish(system.client.load_model(request))
    except EchoplaneError as error:
        return error
    return None


def _plan_request(request: models_pb2.LoadModelRequest) -> planning_pb2.PlanModelRequest:
    return planning_pb2.PlanModelRequest(source_uri=request.source_uri, max_concurrency=request.max_concurrency)


def _concurrency_for(system: e.System, wanted_bytes: float) -> int:
    """Return the concurrency whose plan takes at least so many bytes."""
    for concurrency in range(1, 200):
        request = planning_pb2.PlanModelRequest(source_uri=system.made.uri("encoder"), max_concurrency=concurrency)
        if system.client.plan_model(request).upper_bytes >= wanted_bytes:
            return concurrency
    raise AssertionError("no concurrency takes so much")


def _check_plan(error: EchoplaneError, reason: str, code: grpc.StatusCode) -> None:
    """Check that a refusal says how much is needed, how much is free, and what would fit."""
    assert (error.reason, error.failure.code) == (reason, code)
    plan = error.plan
    assert plan is not None
    assert not plan.fits
    assert plan.devices[0].needed_bytes > plan.devices[0].free_bytes > 0
    assert plan.alternatives
    assert all(alternative.upper_bytes <= plan.devices[0].free_bytes for alternative in plan.alternatives)
