"""Failures as ``google.rpc.Status``, details by AIP-193.

One table for every reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from types import MappingProxyType

import grpc
from google.protobuf.message import Message

from echoplane.googleapis import error_details_pb2, status_pb2
from echoplaned.core.failure import FailureDetail, InvalidField, Reason
from echoplaned.core.plan import Component, Plan
from echoplaned.rpc.convert.common import duration
from echoplaned.rpc.convert.plans import plan_to_pb

DOMAIN = "echoplane.dev"

# A status travels in the trailers, base64 and its message a second time; gRPC's receivers take 8 KiB of them before they refuse some.
TRAILER_BYTES = 4096
_MESSAGE_CHARS = 600
_MAX_VIOLATIONS = 16
_DESCRIPTION_CHARS = 120


class Violations(Enum):
    """The detail type that carries a failure's violations."""

    BAD_REQUEST = auto()
    PRECONDITION = auto()
    QUOTA = auto()


@dataclass(frozen=True, slots=True)
class Row:
    """How the failures of one reason are told.

    Attributes:
        code: gRPC code.
        violations: the detail type that carries the violations.
        retry_s: seconds in RetryInfo where the failure itself says no delay; None: no RetryInfo.
    """

    code: grpc.StatusCode
    violations: Violations = Violations.PRECONDITION
    retry_s: float | None = None


_C = grpc.StatusCode
TABLE: Mapping[Reason, Row] = MappingProxyType(
    {
        Reason.FIELD_INVALID: Row(_C.INVALID_ARGUMENT, Violations.BAD_REQUEST),
        Reason.REQUEST_ID_REUSED: Row(_C.INVALID_ARGUMENT, Violations.BAD_REQUEST),
        Reason.PAGE_TOKEN_INVALID: Row(_C.INVALID_ARGUMENT, Violations.BAD_REQUEST),
        Reason.SOURCE_NOT_ALLOWED: Row(_C.PERMISSION_DENIED),
        Reason.SOURCE_UNSAFE: Row(_C.INVALID_ARGUMENT),
        Reason.SOURCE_NOT_FOUND: Row(_C.NOT_FOUND),
        Reason.SOURCE_INCOMPLETE: Row(_C.FAILED_PRECONDITION),
        Reason.SOURCE_UNSUPPORTED: Row(_C.FAILED_PRECONDITION),
        Reason.SOURCE_CORRUPT: Row(_C.FAILED_PRECONDITION),
        Reason.SOURCE_CHANGED: Row(_C.FAILED_PRECONDITION),
        Reason.ENGINE_CHANGED: Row(_C.FAILED_PRECONDITION),
        Reason.ARCHITECTURE_UNSUPPORTED: Row(_C.FAILED_PRECONDITION),
        Reason.DTYPE_UNSUPPORTED: Row(_C.FAILED_PRECONDITION),
        Reason.SIGNATURE_CHANGED: Row(_C.FAILED_PRECONDITION),
        Reason.STATE_INVALID: Row(_C.FAILED_PRECONDITION),
        Reason.MEMORY_INSUFFICIENT: Row(_C.RESOURCE_EXHAUSTED, Violations.QUOTA),
        Reason.SURGE_INFEASIBLE: Row(_C.FAILED_PRECONDITION),
        Reason.ROLLOUT_ACTIVE: Row(_C.ABORTED),
        Reason.ETAG_MISMATCH: Row(_C.ABORTED),
        Reason.ROLLED_BACK: Row(_C.ABORTED),
        Reason.CANCELLED: Row(_C.CANCELLED),
        Reason.MODEL_NOT_FOUND: Row(_C.NOT_FOUND),
        Reason.VERSION_NOT_FOUND: Row(_C.NOT_FOUND),
        Reason.ROLLOUT_NOT_FOUND: Row(_C.NOT_FOUND),
        Reason.OPERATION_NOT_FOUND: Row(_C.NOT_FOUND),
        Reason.KEY_NOT_FOUND: Row(_C.NOT_FOUND),
        Reason.KEY_SECRET_UNUSABLE: Row(_C.FAILED_PRECONDITION),
        Reason.CALLER_NOT_ALLOWED: Row(_C.PERMISSION_DENIED),
        Reason.CALLER_UNKNOWN: Row(_C.UNAUTHENTICATED),
        Reason.VERSION_EXISTS: Row(_C.ALREADY_EXISTS),
        Reason.ALIAS_EXISTS: Row(_C.ALREADY_EXISTS),
        Reason.ENGINE_START_FAILED: Row(_C.FAILED_PRECONDITION, retry_s=60.0),
        Reason.ENGINE_CRASH_LOOP: Row(_C.UNAVAILABLE, retry_s=60.0),
        Reason.PROBE_FAILED: Row(_C.FAILED_PRECONDITION, retry_s=60.0),
        Reason.LIMIT_EXCEEDED: Row(_C.RESOURCE_EXHAUSTED, Violations.QUOTA, retry_s=1.0),
        Reason.ADAPTER_FAILED: Row(_C.INTERNAL, retry_s=60.0),
        Reason.STORE_UNAVAILABLE: Row(_C.UNAVAILABLE, retry_s=1.0),
        Reason.NOT_IMPLEMENTED: Row(_C.UNIMPLEMENTED),
    }
)


def code_of(reason: Reason) -> grpc.StatusCode:
    """Return the gRPC code of a reason."""
    return TABLE[reason].code


def to_status(failure: FailureDetail) -> status_pb2.Status:
    """Return a failure with every detail, as an operation or a version carries it."""
    row = TABLE[failure.reason]
    number: int = row.code.value[0]
    status = status_pb2.Status(code=number, message=failure.message)
    info = error_details_pb2.ErrorInfo(reason=failure.reason.value, domain=DOMAIN, metadata=dict(failure.metadata))
    _pack(status, info)
    for detail in _details(failure, row):
        _pack(status, detail)
    return status


def to_trailer(failure: FailureDetail) -> status_pb2.Status:
    """Return a failure as a call's own status, short enough for its trailers.

    As ``to_status``, less the parts that would not fit.
    """
    status = to_status(failure)
    for shorten in (_short_texts, _short_components, _short_plan, _no_plan):
        if status.ByteSize() <= TRAILER_BYTES:
            break
        failure = shorten(failure)
        status = to_status(failure)
    return status


def _short_texts(failure: FailureDetail) -> FailureDetail:
    kept = tuple(
        InvalidField(_cut(v.field, _DESCRIPTION_CHARS), _cut(v.description, _DESCRIPTION_CHARS))
        for v in failure.violations[:_MAX_VIOLATIONS]
    )
    left = len(failure.violations) - len(kept)
    if left:
        kept = (*kept, InvalidField("", f"and {left} more"))
    return replace(failure, message=_cut(failure.message, _MESSAGE_CHARS), violations=kept)


def _short_components(failure: FailureDetail) -> FailureDetail:
    if failure.plan is None:
        return failure
    components = tuple(Component(c.name, c.bytes) for c in failure.plan.components)
    return replace(failure, plan=replace(failure.plan, components=components))


def _short_plan(failure: FailureDetail) -> FailureDetail:
    if failure.plan is None:
        return failure
    plan = replace(
        failure.plan,
        components=(),
        reservoir=None,
        devices=failure.plan.devices[:8],
        alternatives=failure.plan.alternatives[:3],
        warnings=(),
    )
    return replace(failure, plan=plan)


def _no_plan(failure: FailureDetail) -> FailureDetail:
    return replace(failure, plan=None)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _details(failure: FailureDetail, row: Row) -> list[Message]:
    details: list[Message] = []
    if failure.violations:
        details.append(_violations(failure, row.violations))
    if failure.resource is not None:
        details.append(
            error_details_pb2.ResourceInfo(
                resource_type=failure.resource.kind, resource_name=failure.resource.name, description=failure.message
            )
        )
    if failure.plan is not None:
        details.append(plan_to_pb(failure.plan))
        if row.violations is Violations.QUOTA:
            details.append(_quota_of(failure.plan))
    delay_s = failure.retry_delay_s if failure.retry_delay_s is not None else row.retry_s
    if delay_s is not None:
        details.append(error_details_pb2.RetryInfo(retry_delay=duration(delay_s)))
    return details


def _violations(failure: FailureDetail, kind: Violations) -> Message:
    detail: Message
    pairs = [(v.field, v.description) for v in failure.violations]
    match kind:
        case Violations.BAD_REQUEST:
            fields = [error_details_pb2.BadRequest.FieldViolation(field=f, description=d) for f, d in pairs]
            detail = error_details_pb2.BadRequest(field_violations=fields)
        case Violations.QUOTA:
            quotas = [error_details_pb2.QuotaFailure.Violation(subject=f, description=d) for f, d in pairs]
            detail = error_details_pb2.QuotaFailure(violations=quotas)
        case Violations.PRECONDITION:
            reason = failure.reason.value
            held = [
                error_details_pb2.PreconditionFailure.Violation(type=reason, subject=f, description=d) for f, d in pairs
            ]
            detail = error_details_pb2.PreconditionFailure(violations=held)
    return detail


def _quota_of(plan: Plan) -> error_details_pb2.QuotaFailure:
    violations = [
        error_details_pb2.QuotaFailure.Violation(
            subject=fit.device_id, description=f"{fit.needed_bytes} bytes needed, {fit.free_bytes} bytes free"
        )
        for fit in plan.devices
        if not fit.fits
    ]
    return error_details_pb2.QuotaFailure(violations=violations)


def _pack(status: status_pb2.Status, detail: Message) -> None:
    status.details.add().Pack(detail)
