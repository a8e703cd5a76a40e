"""Errors of the API as exceptions, one class for each way to deal with them.

The details of AIP-193 are plain data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar, cast

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message

from echoplane.googleapis import error_details_pb2, status_pb2
from echoplane.v1 import plans_pb2

Detail = TypeVar("Detail", bound=Message)

DOMAIN: Final = "echoplane.dev"
_DETAILS_KEY: Final = "grpc-status-details-bin"
_DETAILS: Final[tuple[type[Message], ...]] = (
    error_details_pb2.ErrorInfo,
    error_details_pb2.BadRequest,
    error_details_pb2.PreconditionFailure,
    error_details_pb2.QuotaFailure,
    error_details_pb2.ResourceInfo,
    error_details_pb2.RetryInfo,
    plans_pb2.Plan,
)
_UNREAD: Final = "(with details that this client cannot read)"
_MAX_WAIT_S: Final = 86_400.0  # whoever asks for more asks for an end
_CODES: Final[Mapping[int, grpc.StatusCode]] = {code.value[0]: code for code in grpc.StatusCode}

# What to do, by reason. The daemon's message says what is wrong; this says where to go from there.
_ADVICE: Final[Mapping[str, str]] = {
    "FIELD_INVALID": "correct the fields that are named and send the request again",
    "REQUEST_ID_REUSED": "leave --request-id out, or send exactly what was sent with it before",
    "PAGE_TOKEN_INVALID": "start again without a page or resume token",
    "SOURCE_NOT_ALLOWED": "put the checkpoint beneath a --model-root of the daemon, or start the daemon with one that holds it",
    "SOURCE_UNSAFE": "convert the checkpoint to safetensors",
    "SOURCE_NOT_FOUND": "check the path; the message has it in full",
    "SOURCE_INCOMPLETE": "fetch what the message names (git lfs pull, or download the checkpoint again)",
    "SOURCE_UNSUPPORTED": "see the file and the field that the message names; another engine may serve the checkpoint",
    "SOURCE_CHANGED": "put the files back as they were and load the version again, or load what is there now as another version",
    "ENGINE_CHANGED": "install the build again that the message names, or load the model with the new build as another version",
    "SOURCE_CORRUPT": "download or export the checkpoint again; the message names the file",
    "ARCHITECTURE_UNSUPPORTED": "use one of the architectures that the message names",
    "DTYPE_UNSUPPORTED": "ask for one of the dtypes that the message names",
    "SIGNATURE_CHANGED": "check that this is the right checkpoint; if callers are ready for it, pass behaviour change INTENDED",
    "STATE_INVALID": "look at the resource's present state with `echoplane get`",
    "MEMORY_INSUFFICIENT": "take one of the alternatives that fit, or unload something (`echoplane devices`)",
    "SURGE_INFEASIBLE": "free what the plan says is missing, or take one of the alternatives that fit",
    "ROLLOUT_ACTIVE": "wait for the rollout (`echoplane rollout watch`), abort it, or pass --force where there is one",
    "ETAG_MISMATCH": "read the model again and repeat the call with its present etag",
    "ROLLED_BACK": "the old version serves; see the verdict with `echoplane explain`",
    "MODEL_NOT_FOUND": "see which models there are with `echoplane ls`",
    "VERSION_NOT_FOUND": "see which versions there are with `echoplane ls MODEL`",
    "ROLLOUT_NOT_FOUND": "see which rollouts there are with `echoplane rollout ls MODEL`",
    "OPERATION_NOT_FOUND": "see which operations are open with `echoplane status`",
    "ALIAS_EXISTS": "leave the alias out, or take it from the model that has it first",
    "VERSION_EXISTS": "choose another version id, or leave it out",
    "ENGINE_START_FAILED": "read the engine's last lines in the message",
    "ENGINE_CRASH_LOOP": "read the engine's last lines in the message; load it again once the cause is gone",
    "PROBE_FAILED": "the checkpoint loads but does not answer rightly; check its files",
    "ADAPTER_FAILED": "a fault of the daemon's own: its log says which; load the version again, or start the daemon again",
    "LIMIT_EXCEEDED": "wait and try again, with fewer calls at once",
    "KEY_NOT_FOUND": "see which keys there are with `echoplane key ls`",
    "KEY_SECRET_UNUSABLE": "mend or remove the secret's file; the message names it",
    "CALLER_UNKNOWN": "use a key that was not revoked, or make one with `echoplane key create`",
    "CALLER_NOT_ALLOWED": "use a key that may, or the daemon's unix socket: `--address unix:STATE_DIR/api.sock`",
    "STORE_UNAVAILABLE": "make room on, or repair, the daemon's state directory; nothing was changed",
}
_ADVICE_BY_CODE: Final[Mapping[grpc.StatusCode, str]] = {
    grpc.StatusCode.UNAVAILABLE: "check that echoplaned runs and that --address is its address",
    grpc.StatusCode.DEADLINE_EXCEEDED: "allow more time with --timeout, and look at `echoplane status`",
}


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field of a request that breaks its rule.

    Attributes:
        field: path of the field within the request.
        description: what is wrong with it.
    """

    field: str
    description: str


@dataclass(frozen=True, slots=True)
class Violation:
    """One precondition that does not hold, or one limit that is reached.

    Attributes:
        subject: what it is about.
        description: what is wrong with it.
    """

    subject: str
    description: str


@dataclass(frozen=True, slots=True)
class Failure:
    """What a status said, in plain data.

    Attributes:
        code: gRPC code.
        message: what is wrong, for people.
        reason: stable reason (``MODEL_NOT_FOUND``); empty: the status has none.
        metadata: further facts by name, those of ``ErrorInfo``.
        field_violations: fields of the request that break their rules.
        violations: preconditions that do not hold, and limits that are reached.
        resource: name of the resource that it is about; empty: it names none.
        plan: what would fit, where it is about memory; None: it is not.
        retry_delay_s: wait before trying again, seconds; None: the daemon named none.
    """

    code: grpc.StatusCode
    message: str
    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    field_violations: tuple[FieldViolation, ...] = ()
    violations: tuple[Violation, ...] = ()
    resource: str = ""
    plan: plans_pb2.Plan | None = None
    retry_delay_s: float | None = None


STREAM_ENDED: Final = Failure(grpc.StatusCode.UNAVAILABLE, "the daemon ends the stream again and again")


class EchoplaneError(Exception):
    """Base of every error of this client. ``failure`` holds all that the status said."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.reason or failure.code.name}: {failure.message}")
        self.failure = failure

    @property
    def reason(self) -> str:
        """The stable reason (``MODEL_NOT_FOUND``), or else the gRPC code's name."""
        return self.failure.reason or self.failure.code.name

    @property
    def advice(self) -> str:
        """What to do about it, in one sentence; empty: nothing general can be said."""
        return _ADVICE.get(self.failure.reason) or _ADVICE_BY_CODE.get(self.failure.code, "")

    @property
    def plan(self) -> plans_pb2.Plan | None:
        """The memory plan that goes with it, where there is one."""
        return self.failure.plan


class InvalidRequestError(EchoplaneError):
    """The request itself is wrong; sending it again changes nothing.

    INVALID_ARGUMENT, OUT_OF_RANGE.
    """


class NotFoundError(EchoplaneError):
    """There is no such resource. NOT_FOUND."""


class AlreadyExistsError(EchoplaneError):
    """The name is taken by something else. ALREADY_EXISTS."""


class DeniedError(EchoplaneError):
    """The caller, or the source, is not allowed. PERMISSION_DENIED, UNAUTHENTICATED."""


class PreconditionError(EchoplaneError):
    """Something else must change first. FAILED_PRECONDITION.

    ``failure.violations`` says what.
    """


class ExhaustedError(EchoplaneError):
    """No room, or too many calls. RESOURCE_EXHAUSTED."""


class ConflictError(EchoplaneError):
    """Something else happened meanwhile: read again and decide again. ABORTED."""


class RolledBackError(ConflictError):
    """The update was rolled back; the old version serves.

    ``failure.resource`` names the rollout.
    """


class CancelledError(EchoplaneError):
    """The call or the operation was cancelled. CANCELLED."""


class DeadlineError(EchoplaneError):
    """The time ran out; what was asked may still happen. DEADLINE_EXCEEDED."""


class UnavailableError(EchoplaneError):
    """The daemon does not answer, or cannot now. UNAVAILABLE."""


class UnsupportedError(EchoplaneError):
    """The daemon does not do this. UNIMPLEMENTED."""


class UnreadableError(EchoplaneError):
    """The daemon answered what this client cannot read. INTERNAL."""

    def __init__(self, what: str) -> None:
        super().__init__(Failure(grpc.StatusCode.INTERNAL, f"the daemon answered what this client cannot read: {what}"))

    @property
    def advice(self) -> str:
        """What to do about it."""
        return "check that --address is echoplaned's, and that this client is not older than the daemon"


_CLASSES: Final[Mapping[grpc.StatusCode, type[EchoplaneError]]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequestError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExistsError,
    grpc.StatusCode.PERMISSION_DENIED: DeniedError,
    grpc.StatusCode.UNAUTHENTICATED: DeniedError,
    grpc.StatusCode.FAILED_PRECONDITION: PreconditionError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ExhaustedError,
    grpc.StatusCode.ABORTED: ConflictError,
    grpc.StatusCode.CANCELLED: CancelledError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.UNIMPLEMENTED: UnsupportedError,
}


def from_failure(failure: Failure) -> EchoplaneError:
    """Return the exception for a failure."""
    if failure.reason == "ROLLED_BACK":
        return RolledBackError(failure)
    return _CLASSES.get(failure.code, EchoplaneError)(failure)


def from_status(status: status_pb2.Status) -> EchoplaneError:
    """Return the exception for a ``google.rpc.Status``, for example of an operation."""
    return from_failure(_read(status, _CODES.get(status.code, grpc.StatusCode.UNKNOWN), status.message))


def from_rpc_error(error: grpc.RpcError) -> EchoplaneError:
    """Return the exception for a failed call, with its trailers' details."""
    call = cast(grpc.Call, error)  # every RpcError that a call raises is one
    code = call.code()
    message = call.details() or code.name
    for key, value in call.trailing_metadata() or ():
        if key == _DETAILS_KEY:
            try:
                status = status_pb2.Status.FromString(cast(bytes, value))
            except DecodeError:  # code and message came beside it
                return from_failure(Failure(code, f"{message} {_UNREAD}"))
            return from_failure(_read(status, code, message))
    return from_failure(Failure(code, message))


def _read(status: status_pb2.Status, code: grpc.StatusCode, message: str) -> Failure:
    """Take a status' details apart; details of other types are left out.

    One that is no message is left out too, and told of: code and message still say what is wrong.
    """
    details, whole = _details(status)
    info = _first(details, error_details_pb2.ErrorInfo) or error_details_pb2.ErrorInfo()
    bad = _first(details, error_details_pb2.BadRequest) or error_details_pb2.BadRequest()
    precondition = _first(details, error_details_pb2.PreconditionFailure) or error_details_pb2.PreconditionFailure()
    quota = _first(details, error_details_pb2.QuotaFailure) or error_details_pb2.QuotaFailure()
    resource = _first(details, error_details_pb2.ResourceInfo) or error_details_pb2.ResourceInfo()
    retry = _first(details, error_details_pb2.RetryInfo)
    return Failure(
        code=code,
        message=message if whole else f"{message} {_UNREAD}",
        reason=info.reason,
        metadata=dict(info.metadata),
        field_violations=tuple(FieldViolation(v.field, v.description) for v in bad.field_violations),
        violations=tuple(Violation(v.subject, v.description) for v in (*precondition.violations, *quota.violations)),
        resource=resource.resource_name,
        plan=_first(details, plans_pb2.Plan),
        retry_delay_s=_wait_s(retry.retry_delay) if retry and retry.HasField("retry_delay") else None,
    )


def _details(status: status_pb2.Status) -> tuple[list[Message], bool]:
    """Return the details of known kinds, and whether each could be read."""
    found: list[Message] = []
    whole = True
    for detail in status.details:
        kind = next((each for each in _DETAILS if detail.Is(each.DESCRIPTOR)), None)
        if kind is None:
            continue
        try:
            found.append(kind.FromString(detail.value))
        except DecodeError:
            whole = False
    return found, whole


def _first(details: Iterable[Message], kind: type[Detail]) -> Detail | None:
    """Return the first detail of a kind; None: there is none."""
    return next((detail for detail in details if isinstance(detail, kind)), None)


def _wait_s(delay: Duration) -> float:
    """Return how long to wait, in seconds: no longer than a clock can."""
    return min(max(delay.seconds + delay.nanos / 1e9, 0.0), _MAX_WAIT_S)
