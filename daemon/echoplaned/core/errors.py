"""The errors that a caller may see: one class for each stable reason.

Each carries a ``FailureDetail``; ``rpc/status.py`` maps reasons to gRPC codes and details.
"""

from __future__ import annotations

from typing import ClassVar

from echoplaned.core.failure import FailureDetail, InvalidField, Reason, ResourceRef
from echoplaned.core.names import ResourceKind
from echoplaned.core.plan import Plan
from echoplaned.core.replacing import replace


class DaemonError(Exception):
    """Base of every error that a caller may see.

    ``failure`` says what happened and what to do.
    """

    reason: ClassVar[Reason]

    def __init__(self, message: str, failure: FailureDetail | None = None) -> None:
        super().__init__(message)
        self.failure = failure if failure is not None else FailureDetail(self.reason, message)


class FieldInvalidError(DaemonError):
    """One or more fields of a request break their rules.

    ``failure.violations`` has them all.
    """

    reason = Reason.FIELD_INVALID

    def __init__(self, *violations: InvalidField) -> None:
        message = "; ".join(f"{v.field}: {v.description}" for v in violations)
        super().__init__(message, FailureDetail(self.reason, message, violations=violations))


class RequestIdReusedError(DaemonError):
    """The request id came before with another body."""

    reason = Reason.REQUEST_ID_REUSED

    def __init__(self, request_id: str) -> None:
        message = f"request_id {request_id!r} was used with another body: take a new id, or send the same body again"
        violation = InvalidField("request_id", "was used with another body")
        super().__init__(message, FailureDetail(self.reason, message, violations=(violation,)))


class PageTokenInvalidError(DaemonError):
    """The page token is not one of ours, or belongs to another query."""

    reason = Reason.PAGE_TOKEN_INVALID

    def __init__(self, field: str = "page_token", otherwise: str = "start from the first page") -> None:
        message = f"{field} is not valid for this query: leave it empty to {otherwise}"
        super().__init__(message, FailureDetail(self.reason, message, violations=(InvalidField(field, "not valid"),)))


class _PreconditionError(DaemonError):
    """An error whose details are a precondition that does not hold.

    They say what it is about and what would be accepted.
    """

    def __init__(self, message: str, *, subject: str = "", accepted: str = "") -> None:
        violations = (InvalidField(subject, accepted or message),)
        super().__init__(message, FailureDetail(self.reason, message, violations=violations))


class SourceNotAllowedError(_PreconditionError):
    """The source lies outside every allowed root."""

    reason = Reason.SOURCE_NOT_ALLOWED


class SourceUnsafeError(_PreconditionError):
    """The source holds weights that could run code when they are read (pickles)."""

    reason = Reason.SOURCE_UNSAFE


class SourceNotFoundError(_PreconditionError):
    """There is nothing at the source's path."""

    reason = Reason.SOURCE_NOT_FOUND


class SourceIncompleteError(_PreconditionError):
    """A file of the source was not fetched, or a hub's directory names no revision.

    Where it was not fetched, another file stands for it.
    """

    reason = Reason.SOURCE_INCOMPLETE


class SourceUnsupportedError(_PreconditionError):
    """The files are sound, but a field of them asks for what the engine lacks."""

    reason = Reason.SOURCE_UNSUPPORTED


class SourceCorruptError(_PreconditionError):
    """A file of the source is missing, cut short, or disagrees with another one."""

    reason = Reason.SOURCE_CORRUPT


class SourceChangedError(_PreconditionError):
    """A file of the source is not what it was when it was read before."""

    reason = Reason.SOURCE_CHANGED


class ArchitectureUnsupportedError(_PreconditionError):
    """The model's architecture is not in the catalogue."""

    reason = Reason.ARCHITECTURE_UNSUPPORTED


class DtypeUnsupportedError(_PreconditionError):
    """The dtype is unknown, or cannot be had for this model on this engine."""

    reason = Reason.DTYPE_UNSUPPORTED


class SignatureChangedError(_PreconditionError):
    """The new version's tensors differ from the serving version's."""

    reason = Reason.SIGNATURE_CHANGED


class StateInvalidError(_PreconditionError):
    """The call makes no sense in the resource's present state."""

    reason = Reason.STATE_INVALID


class KeySecretUnusableError(_PreconditionError):
    """The file that keys are derived from cannot be used."""

    reason = Reason.KEY_SECRET_UNUSABLE


class CallerNotAllowedError(_PreconditionError):
    """Who calls may not call this, or not for this model."""

    reason = Reason.CALLER_NOT_ALLOWED


class CallerUnknownError(_PreconditionError):
    """The key that a call or a stream came with does not work, or not any more."""

    reason = Reason.CALLER_UNKNOWN


class _PlanError(DaemonError):
    """An error that carries the plan which says what would fit."""

    def __init__(self, message: str, plan: Plan | None) -> None:
        super().__init__(message, FailureDetail(self.reason, message, plan=plan))


class MemoryInsufficientError(_PlanError):
    """No device has room for the model."""

    reason = Reason.MEMORY_INSUFFICIENT


class SurgeInfeasibleError(_PlanError):
    """The new version does not fit beside the one that is serving."""

    reason = Reason.SURGE_INFEASIBLE


class _ResourceError(DaemonError):
    """An error about one resource."""

    kind: ClassVar[ResourceKind]

    def __init__(self, name: str, message: str = "") -> None:
        text = message or f"{name} does not exist"
        super().__init__(text, FailureDetail(self.reason, text, resource=ResourceRef(self.kind.value, name)))


class ModelNotFoundError(_ResourceError):
    """There is no such model."""

    reason = Reason.MODEL_NOT_FOUND
    kind = ResourceKind.MODEL


class VersionNotFoundError(_ResourceError):
    """There is no such version."""

    reason = Reason.VERSION_NOT_FOUND
    kind = ResourceKind.VERSION


class RolloutNotFoundError(_ResourceError):
    """There is no such rollout."""

    reason = Reason.ROLLOUT_NOT_FOUND
    kind = ResourceKind.ROLLOUT


class OperationNotFoundError(_ResourceError):
    """There is no such operation."""

    reason = Reason.OPERATION_NOT_FOUND
    kind = ResourceKind.OPERATION


class KeyNotFoundError(_ResourceError):
    """There is no such key."""

    reason = Reason.KEY_NOT_FOUND
    kind = ResourceKind.KEY


class VersionExistsError(_ResourceError):
    """The version id is taken by other content or options."""

    reason = Reason.VERSION_EXISTS
    kind = ResourceKind.VERSION


class AliasExistsError(_ResourceError):
    """The alias, or the id, is a name that another model has.

    Args:
        owner: that model's name.
        message: what is wrong and what to do, with the owner.
        unnamed: the same for whoever may not know of the owner.
    """

    reason = Reason.ALIAS_EXISTS
    kind = ResourceKind.MODEL

    def __init__(self, owner: str, message: str, unnamed: str) -> None:
        super().__init__(owner, message)
        self.owner = owner
        self._unnamed = unnamed

    def without_owner(self) -> DaemonError:
        """Return the error for whoever may not know of the owner."""
        hidden = AliasExistsError("", self._unnamed, self._unnamed)
        hidden.failure = replace(hidden.failure, resource=None)
        return hidden


class RolloutActiveError(_ResourceError):
    """The model has a rollout under way."""

    reason = Reason.ROLLOUT_ACTIVE
    kind = ResourceKind.ROLLOUT


class EtagMismatchError(_ResourceError):
    """The etag is not the resource's current one.

    The message and the metadata have the current one.
    """

    reason = Reason.ETAG_MISMATCH
    kind = ResourceKind.MODEL

    def __init__(self, name: str, current: str) -> None:
        super().__init__(name, f"the etag of {name} is {current}: read it again, then decide")
        self.failure = replace(self.failure, metadata=(("etag", current),))


class LimitExceededError(DaemonError):
    """A limit of the daemon is reached; try later."""

    reason = Reason.LIMIT_EXCEEDED

    def __init__(self, subject: str, message: str, retry_delay_s: float = 1.0) -> None:
        failure = FailureDetail(
            self.reason, message, violations=(InvalidField(subject, message),), retry_delay_s=retry_delay_s
        )
        super().__init__(message, failure)


class StoreUnavailableError(DaemonError):
    """The store cannot be written; nothing was changed."""

    reason = Reason.STORE_UNAVAILABLE

    def __init__(self, detail: str) -> None:
        message = f"the store cannot be written ({detail}); nothing was changed: try again"
        super().__init__(message, FailureDetail(self.reason, message, retry_delay_s=1.0))


class NotImplementedHereError(DaemonError):
    """The method exists in the API and not yet in this daemon."""

    reason = Reason.NOT_IMPLEMENTED
