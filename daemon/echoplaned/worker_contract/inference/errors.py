"""What can go wrong in a worker: errors of one call, and the refusal of a load."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

import grpc


class Blame(StrEnum):
    """Whose fault a failed call was; decides which counter it moves."""

    CLIENT = "CLIENT"
    SERVER = "SERVER"
    LOAD = "LOAD"
    """Nobody's: more came than there was room or time for."""


class CallError(Exception):
    """One call failed. ``code`` is its gRPC status, the message goes to the caller."""

    code: ClassVar[grpc.StatusCode]
    blame: ClassVar[Blame]


class InvalidInputError(CallError):
    """The request's tensors or parameters are not what the model takes."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    blame = Blame.CLIENT


class ContextExceededError(InvalidInputError):
    """A prompt, or a prompt and the wanted tokens, are longer than the context.

    The context is the version's, in tokens.
    """


class FieldError(InvalidInputError):
    """One field of a JSON request is not taken, or not in this form.

    Args:
        param: names the field, as ``messages[0].role``.
        message: what is wrong with it.
    """

    def __init__(self, param: str, message: str) -> None:
        super().__init__(f"{param}: {message}")
        self.param = param


class WrongModelError(CallError):
    """The request names a model or version that this worker does not serve."""

    code = grpc.StatusCode.NOT_FOUND
    blame = Blame.CLIENT


class NotAllowedError(CallError):
    """The request asks for what only the daemon may have."""

    code = grpc.StatusCode.PERMISSION_DENIED
    blame = Blame.CLIENT


class OverloadedError(CallError):
    """More sequences are waiting than the queue may hold."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    blame = Blame.LOAD


class NotServingError(CallError):
    """The worker has no model yet, or is on its way out."""

    code = grpc.StatusCode.UNAVAILABLE
    blame = Blame.SERVER


class ModelFailedError(CallError):
    """The model's forward pass raised, or its output is not finite."""

    code = grpc.StatusCode.INTERNAL
    blame = Blame.SERVER


class LoadError(Exception):
    """A checkpoint cannot be served.

    ``retryable``: the same load may succeed later; bad files never do.
    """

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class LoadSourceChangedError(LoadError):
    """The checkpoint is not the one that was ordered. Final: a version is its content."""
