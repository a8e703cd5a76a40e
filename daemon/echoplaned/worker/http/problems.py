"""What a request is refused with, as a status and in the words of each API."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import grpc

from echoplaned.worker_contract.inference.errors import (
    CallError,
    ContextExceededError,
    FieldError,
    WrongModelError,
)

_STATUSES: Final = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
}
RETRY_AFTER_S: Final = 1
_RETRIED: Final = frozenset({429, 503})


class Api(StrEnum):
    """Whose form an answer has."""

    OPENAI = "OPENAI"
    ANTHROPIC = "ANTHROPIC"
    OIP = "OIP"


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a request is refused.

    Attributes:
        status: of HTTP.
        message: for the caller.
        param: the field of the request that is to blame; None: none, or not known.
        code: OpenAI's word for it; None: it has none.
        allow: the method that would have been taken; empty: the method is not to blame.
    """

    status: int
    message: str
    param: str | None = None
    code: str | None = None
    allow: str = ""

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Headers that go with it."""
        allow = [(b"allow", self.allow.encode())] if self.allow else []
        return [*allow, (b"retry-after", str(RETRY_AFTER_S).encode())] if self.status in _RETRIED else allow

    def body(self, api: Api) -> dict[str, Any]:
        """Return it in the form of an API."""
        if api is Api.OIP:
            return {"error": self.message}
        if api is Api.ANTHROPIC:
            return {"type": "error", "error": {"type": _anthropic_type(self.status), "message": self.message}}
        error = {"message": self.message, "type": _openai_type(self.status), "param": self.param, "code": self.code}
        return {"error": error}


class RefusedError(Exception):
    """A request is refused before anything is asked of the model.

    Args:
        problem: why.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def problem_of(error: CallError) -> Problem:
    """Return what a failed call is answered with."""
    param = error.param if isinstance(error, FieldError) else None
    code = None
    if isinstance(error, WrongModelError):
        param, code = "model", "model_not_found"
    elif isinstance(error, ContextExceededError):
        code = "context_length_exceeded"
    return Problem(_STATUSES.get(error.code, 500), str(error), param, code)


def _openai_type(status: int) -> str:
    if status == 403:
        return "permission_error"
    if status == 429:
        return "rate_limit_error"
    return "invalid_request_error" if status < 500 else "server_error"


def _anthropic_type(status: int) -> str:
    named = {403: "permission_error", 404: "not_found_error", 413: "request_too_large", 429: "rate_limit_error"}
    return named.get(status, "invalid_request_error" if status < 500 else "api_error")
