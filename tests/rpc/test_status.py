"""Failures as rich statuses: the table of the API, and what fits into trailers."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2

from echoplane.v1 import plans_pb2
from echoplaned.core import errors
from echoplaned.core.facts import Dtype
from echoplaned.core.failure import FailureDetail, InvalidField, Reason, ResourceRef
from echoplaned.core.plan import Alternative, Component, DeviceFit, Plan
from echoplaned.rpc.status import DOMAIN, TABLE, TRAILER_BYTES, code_of, to_status, to_trailer
from echoplaned.testing.builders import plan

C = grpc.StatusCode
D = error_details_pb2

# The error table of the API page, written out again: code, and the details beside ErrorInfo.
API: dict[Reason, tuple[grpc.StatusCode, set[type[Message]]]] = {
    Reason.FIELD_INVALID: (C.INVALID_ARGUMENT, {D.BadRequest}),
    Reason.REQUEST_ID_REUSED: (C.INVALID_ARGUMENT, {D.BadRequest}),
    Reason.PAGE_TOKEN_INVALID: (C.INVALID_ARGUMENT, {D.BadRequest}),
    Reason.SOURCE_NOT_ALLOWED: (C.PERMISSION_DENIED, {D.PreconditionFailure}),
    Reason.SOURCE_UNSAFE: (C.INVALID_ARGUMENT, {D.PreconditionFailure}),
    Reason.SOURCE_NOT_FOUND: (C.NOT_FOUND, {D.PreconditionFailure}),
    Reason.SOURCE_INCOMPLETE: (C.FAILED_PRECONDITION, {D.PreconditionFailure}),
    Reason.SOURCE_UNSUPPORTED: (C.FAILED_PRECONDITION, {D.PreconditionFailure}),
    Reason.SOURCE_CORRUPT: (C.FAILED_PRECONDITION, {D.PreconditionFailure}),
    Reason.SOURCE_CHANGED: (C.FAILED_PRECONDITION, {D.PreconditionFailure}),
    Reason.ENGINE_CHANGED: (C.FAILED_PRECONDITION, set()),
    Reason.ARCHITECTURE_UNSUPPORTED: (C.FAILED_PRECONDITION, {D.PreconditionFailure}),
    Reason.DTYPE_UNSUPPORTED: (C.FAILED_PRECONDITION, {D.PreconditionFailure}),
    Reason.SIGNATURE_CHANGED: (C.FAILED_PRECONDITION, {D.PreconditionFailure}),
    Reason.STATE_INVALID: (C.FAILED_PRECONDITION, {D.PreconditionFailure}),
    Reason.MEMORY_INSUFFICIENT: (C.RESOURCE_EXHAUSTED, {plans_pb2.Plan, D.QuotaFailure}),
    Reason.SURGE_INFEASIBLE: (C.FAILED_PRECONDITION, {plans_pb2.Plan}),
    Reason.ROLLOUT_ACTIVE: (C.ABORTED, {D.ResourceInfo}),
    Reason.ETAG_MISMATCH: (C.ABORTED, {D.ResourceInfo}),
    Reason.ROLLED_BACK: (C.ABORTED, {D.ResourceInfo}),
    Reason.CANCELLED: (C.CANCELLED, set()),
    Reason.MODEL_NOT_FOUND: (C.NOT_FOUND, {D.ResourceInfo}),
    Reason.VERSION_NOT_FOUND: (C.NOT_FOUND, {D.ResourceInfo}),
    Reason.ROLLOUT_NOT_FOUND: (C.NOT_FOUND, {D.ResourceInfo}),
    Reason.OPERATION_NOT_FOUND: (C.NOT_FOUND, {D.ResourceInfo}),
    Reason.KEY_NOT_FOUND: (C.NOT_FOUND, {D.ResourceInfo}),
    Reason.KEY_SECRET_UNUSABLE: (C.FAILED_PRECONDITION, {D.PreconditionFailure}),
    Reason.CALLER_NOT_ALLOWED: (C.PERMISSION_DENIED, {D.PreconditionFailure}),
    Reason.CALLER_UNKNOWN: (C.UNAUTHENTICATED, {D.PreconditionFailure}),
    Reason.VERSION_EXISTS: (C.ALREADY_EXISTS, {D.ResourceInfo}),
    Reason.ALIAS_EXISTS: (C.ALREADY_EXISTS, {D.ResourceInfo}),
    Reason.ENGINE_START_FAILED: (C.FAILED_PRECONDITION, {D.RetryInfo}),
    Reason.ENGINE_CRASH_LOOP: (C.UNAVAILABLE, {D.RetryInfo}),
    Reason.PROBE_FAILED: (C.FAILED_PRECONDITION, {D.RetryInfo}),
    Reason.LIMIT_EXCEEDED: (C.RESOURCE_EXHAUSTED, {D.QuotaFailure, D.RetryInfo}),
    Reason.ADAPTER_FAILED: (C.INTERNAL, {D.RetryInfo}),
    Reason.STORE_UNAVAILABLE: (C.UNAVAILABLE, {D.RetryInfo}),
    Reason.NOT_IMPLEMENTED: (C.UNIMPLEMENTED, set()),
}

# One of each, as the code raises them; reasons that only operations end with are given as failures.
RAISED: list[FailureDetail] = [
    errors.FieldInvalidError(InvalidField("a", "wrong"), InvalidField("b", "wrong too")).failure,
    errors.RequestIdReusedError("r1").failure,
    errors.PageTokenInvalidError().failure,
    errors.SourceNotAllowedError("no", subject="source_uri", accepted="roots").failure,
    errors.SourceUnsafeError("no", subject="a.bin", accepted="safetensors").failure,
    errors.SourceNotFoundError("no", subject="source_uri").failure,
    errors.SourceIncompleteError("no", subject="source_uri").failure,
    errors.SourceUnsupportedError("no", subject="config.json: auto_map").failure,
    errors.SourceCorruptError("no", subject="a.safetensors").failure,
    errors.SourceChangedError("no", subject="a.safetensors").failure,
    FailureDetail(Reason.ENGINE_CHANGED, "no"),
    errors.ArchitectureUnsupportedError("no", accepted="BertModel").failure,
    errors.DtypeUnsupportedError("no", accepted="FP32").failure,
    errors.SignatureChangedError("no", accepted="INTENDED").failure,
    errors.StateInvalidError("no", subject="models/m", accepted="READY").failure,
    errors.MemoryInsufficientError("no", plan()).failure,
    errors.SurgeInfeasibleError("no", plan()).failure,
    errors.RolloutActiveError("models/m/rollouts/r").failure,
    errors.EtagMismatchError("models/m", "abc").failure,
    FailureDetail(Reason.ROLLED_BACK, "back", resource=ResourceRef("echoplane.v1.Rollout", "models/m/rollouts/r")),
    FailureDetail(Reason.CANCELLED, "cancelled"),
    errors.ModelNotFoundError("models/m").failure,
    errors.VersionNotFoundError("models/m/versions/v").failure,
    errors.RolloutNotFoundError("models/m/rollouts/r").failure,
    errors.OperationNotFoundError("operations/o").failure,
    errors.KeyNotFoundError("keys/none").failure,
    errors.KeySecretUnusableError("no").failure,
    errors.CallerNotAllowedError("no").failure,
    errors.CallerUnknownError("no").failure,
    errors.VersionExistsError("models/m/versions/v").failure,
    errors.AliasExistsError("models/m", "taken by models/m", "taken").failure,
    FailureDetail(Reason.ENGINE_START_FAILED, "no"),
    FailureDetail(Reason.ENGINE_CRASH_LOOP, "no"),
    FailureDetail(Reason.PROBE_FAILED, "no"),
    errors.LimitExceededError("models", "full").failure,
    FailureDetail(Reason.ADAPTER_FAILED, "no"),
    errors.StoreUnavailableError("full").failure,
    errors.NotImplementedHereError("use another").failure,
]


def kinds(status: Any) -> list[str]:
    """Return the names of a status's details."""
    return [detail.TypeName() for detail in status.details]


def test_the_table_covers_every_reason() -> None:
    """Every reason has a row, and the rows are the API page's."""
    assert set(TABLE) == set(Reason) == set(API)
    assert {reason: code_of(reason) for reason in Reason} == {reason: code for reason, (code, _) in API.items()}


@pytest.mark.parametrize("failure", RAISED, ids=lambda failure: failure.reason.value)
def test_details(failure: FailureDetail) -> None:
    """Each error has ErrorInfo first and exactly the details of its row."""
    status = to_status(failure)
    code, expected = API[failure.reason]
    assert status.code == code.value[0]
    assert status.message == failure.message
    info = D.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain) == (failure.reason.value, DOMAIN)
    assert sorted(kinds(status)[1:]) == sorted(kind.DESCRIPTOR.full_name for kind in expected)
    assert to_trailer(failure) == status


def test_every_reason_is_raised_once() -> None:
    """The cases above leave no reason out."""
    assert [failure.reason for failure in RAISED] == list(API)


def test_every_error_class_has_its_reason() -> None:
    """Each exception class carries a reason of its own, and each is in the table."""
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.DaemonError)]
    reasons = [c.reason for c in classes if "reason" in vars(c)]
    assert len(reasons) == len(set(reasons))
    assert set(reasons) <= set(TABLE)


def large_plan(components: int, alternatives: int, devices: int) -> Plan:
    """Return a plan with much to say."""
    part = Component("weights", 2**40, "f" * 200, tuple((f"name{i}", 2**40) for i in range(10)), "source" * 10)
    return Plan(
        fits=False,
        architecture="LlamaForCausalLM",
        parameter_count=70 * 10**9,
        dtype=Dtype.BF16,
        context_length=131_072,
        max_concurrency=256,
        replicas=4,
        bytes=2**40,
        upper_bytes=2**41,
        components=(part,) * components,
        devices=tuple(DeviceFit(f"cuda:{i}", 2**36, 2**41) for i in range(devices)),
        alternatives=(Alternative(Dtype.INT8, 4096, 8, 2**36, "cuda:0", "w" * 100),) * alternatives,
        warnings=("w" * 200,) * 5,
    )


@pytest.mark.parametrize(("components", "alternatives", "devices"), [(8, 3, 4), (40, 20, 8), (5, 3, 200)])
def test_plans_fit_into_trailers(components: int, alternatives: int, devices: int) -> None:
    """A large plan loses formulas, then more, but the caller always hears the reason, and what would fit while there is room."""
    failure = errors.MemoryInsufficientError("m" * 5000, large_plan(components, alternatives, devices)).failure
    status = to_trailer(failure)
    assert status.ByteSize() <= TRAILER_BYTES
    assert kinds(status)[0] == "google.rpc.ErrorInfo"
    assert len(to_status(failure).SerializeToString()) > TRAILER_BYTES
    if devices < 100:
        found = plans_pb2.Plan()
        assert any(detail.Unpack(found) for detail in status.details)
        assert found.alternatives[0].dtype
        assert found.upper_bytes == 2**41


def test_the_cut_says_how_much_is_missing() -> None:
    """Of a hundred violations the first are told, then how many more there are."""
    violations = [InvalidField(f"labels[{i}]", "d" * 300) for i in range(100)]
    status = to_trailer(errors.FieldInvalidError(*violations).failure)
    bad = D.BadRequest()
    assert status.details[1].Unpack(bad)
    assert len(bad.field_violations) == 17
    assert bad.field_violations[-1].description == "and 84 more"
    assert status.ByteSize() <= TRAILER_BYTES
