"""Why something did not come true, as data: kept on versions and operations, and carried by every error."""

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
    VERSION_EXISTS = "VERSION_EXISTS"
    ENGINE_START_FAILED = "ENGINE_START_FAILED"
    ENGINE_CRASH_LOOP = "ENGINE_CRASH_LOOP"
    PROBE_FAILED = "PROBE_FAILED"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
    ADAPTER_FAILED = "ADAPTER_FAILED"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    NOT_IMPLEMENTED = "NOT_IMPLEMENTED"


@dataclass(frozen=True, slots=True)
class InvalidField:
    """One thing that is wrong with a request. ``field``: the path of a field; empty for a precondition's subject."""

    field: str
    description: str


@dataclass(frozen=True, slots=True)
class ResourceRef:
    """The resource that a failure is about. ``kind``: ``echoplane.v1.Model`` and so on; ``name``: its full name."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class FailureDetail:
    """A reason with everything a caller needs to act: what is wrong, what about, what would work, when to try again."""

    reason: Reason
    message: str
    violations: tuple[InvalidField, ...] = ()
    resource: ResourceRef | None = None
    plan: Plan | None = None
    retry_delay_s: float | None = None
    metadata: tuple[tuple[str, str], ...] = ()
