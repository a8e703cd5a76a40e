"""Why something failed, as data.

It is kept on versions and operations, and carried by every error.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from echoplaned.core.plan import Plan


class Reason(StrEnum):
    """Stable reasons (``google.rpc.ErrorInfo.reason``); scripts depend on them."""

    FIELD_INVALID = "FIELD_INVALID"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    PAGE_TOKEN_INVALID = "PAGE_TOKEN_INVALID"  # noqa: S105 - a reason, not a password
    SOURCE_NOT_ALLOWED = "SOURCE_NOT_ALLOWED"
    SOURCE_UNSAFE = "SOURCE_UNSAFE"
    SOURCE_NOT_FOUND = "SOURCE_NOT_FOUND"
    SOURCE_INCOMPLETE = "SOURCE_INCOMPLETE"
    SOURCE_UNSUPPORTED = "SOURCE_UNSUPPORTED"
    SOURCE_CORRUPT = "SOURCE_CORRUPT"
    SOURCE_CHANGED = "SOURCE_CHANGED"
    ENGINE_CHANGED = "ENGINE_CHANGED"
    ARCHITECTURE_UNSUPPORTED = "ARCHITECTURE_UNSUPPORTED"
    DTYPE_UNSUPPORTED = "DTYPE_UNSUPPORTED"
    SIGNATURE_CHANGED = "SIGNATURE_CHANGED"
    STATE_INVALID = "STATE_INVALID"
    MEMORY_INSUFFICIENT = "MEMORY_INSUFFICIENT"
    SURGE_INFEASIBLE = "SURGE_INFEASIBLE"
    ROLLOUT_ACTIVE = "ROLLOUT_ACTIVE"
    ETAG_MISMATCH = "ETAG_MISMATCH"
    ROLLED_BACK = "ROLLED_BACK"
    CANCELLED = "CANCELLED"
    MODEL_NOT_FOUND = "MODEL_NOT_FOUND"
    VERSION_NOT_FOUND = "VERSION_NOT_FOUND"
    ROLLOUT_NOT_FOUND = "ROLLOUT_NOT_FOUND"
    OPERATION_NOT_FOUND = "OPERATION_NOT_FOUND"
    KEY_NOT_FOUND = "KEY_NOT_FOUND"
    KEY_SECRET_UNUSABLE = "KEY_SECRET_UNUSABLE"  # noqa: S105 - as above
    CALLER_NOT_ALLOWED = "CALLER_NOT_ALLOWED"
    CALLER_UNKNOWN = "CALLER_UNKNOWN"
    VERSION_EXISTS = "VERSION_EXISTS"
    ALIAS_EXISTS = "ALIAS_EXISTS"
    ENGINE_START_FAILED = "ENGINE_START_FAILED"
    ENGINE_CRASH_LOOP = "ENGINE_CRASH_LOOP"
    PROBE_FAILED = "PROBE_FAILED"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
    ADAPTER_FAILED = "ADAPTER_FAILED"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    NOT_IMPLEMENTED = "NOT_IMPLEMENTED"


@dataclass(frozen=True, slots=True)
class InvalidField:
    """One thing that is wrong with a request, or one condition that does not hold.

    Attributes:
        field: path of the request's field, or what the condition or limit is about; empty: nothing in particular.
        description: what is wrong, or what would be accepted.
    """

    field: str
    description: str


@dataclass(frozen=True, slots=True)
class ResourceRef:
    """The resource that a failure is about.

    Attributes:
        kind: type of the resource, for example ``echoplane.v1.Model`` (``names.ResourceKind``).
        name: full resource name.
    """

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class FailureDetail:
    """A reason, and what a caller needs in order to act on it.

    Attributes:
        reason: the stable reason.
        message: what is wrong and what to do, for people.
        violations: what about: fields of the request, or conditions that do not hold; empty: neither.
        resource: the resource that it is about; None: none.
        plan: the plan that does not fit, with what would; None: it is not about memory.
        retry_delay_s: seconds after which trying again may work; None: nothing is said.
        metadata: pairs of name and value for scripts (``google.rpc.ErrorInfo.metadata``).
    """

    reason: Reason
    message: str
    violations: tuple[InvalidField, ...] = ()
    resource: ResourceRef | None = None
    plan: Plan | None = None
    retry_delay_s: float | None = None
    metadata: tuple[tuple[str, str], ...] = ()
