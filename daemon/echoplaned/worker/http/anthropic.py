"""Reads and answers requests of Anthropic's Messages API."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

from echoplaned.worker.chat_template import Message
from echoplaned.worker.completing import AnswerPiece, Finish
from echoplaned.worker.http.exchange import to_json
from echoplaned.worker.http.fields import Fields, as_text
from echoplaned.worker.http.generation import (
    GenerationRequest,
    TokenUsage,
    WholeAnswer,
    sse,
    valid_sampling,
)
from echoplaned.worker.http.openai_requests import read_content, read_turns
from echoplaned.worker_contract.inference.errors import FieldError
from echoplaned.worker_contract.inference.sampling import Sampling

MAX_STOP_SEQUENCES: Final = 16
_MAX_TOKENS: Final = 2**31 - 1
_ROLES: Final = ("user", "assistant")
_NOTHING: Final[Mapping[str, Sequence[Any]]] = {
    "cache_control": (),
    "container": (),
    "context_management": (),
    "diagnostics": (),
    "inference_geo": (),
    "mcp_servers": ([],),
    "output_config": (),
    "output_format": (),
    "service_tier": ("auto", "standard_only"),
    "speed": ("standard",),
    "thinking": ({"type": "disabled"},),
    "tool_choice": ({"type": "none"}, {"type": "auto"}),
    "tools": ([],),
    "user_profile_id": (),
    "workspace_id": (),
}


def read_messages(data: Mapping[str, Any]) -> GenerationRequest:
    """Read a request for a message.

    Raises:
        FieldError: a field is missing, not taken, or out of range.
    """
    fields = Fields(data)
    model = as_text("model", fields.require("model"))
    fields.require("max_tokens")
    max_tokens = fields.whole("max_tokens", 1, _MAX_TOKENS) or 0
    system = fields.take("system")
    messages: list[Message] = []
    if system is not None:
        messages.append({"role": "system", "content": read_content(fields, system, "system")})
    messages += map(_message, read_turns(fields))
    if messages[-1]["role"] != "user":
        raise FieldError("messages", "must end with the user's words: an answer that is begun is not gone on with here")
    temperature = fields.number("temperature", 0.0, 1.0)
    top_p = fields.number("top_p", 0.0, 1.0)
    sampling = Sampling(
        max_tokens=max_tokens,
        temperature=1.0 if temperature is None else temperature,
        top_k=fields.whole("top_k", 0, _MAX_TOKENS) or 0,
        top_p=1.0 if top_p is None else top_p,
    )
    request = GenerationRequest(
        model=model,
        messages=tuple(messages),
        sampling=valid_sampling(sampling),
        stops=fields.texts("stop_sequences", MAX_STOP_SEQUENCES, alone=False),
        is_streamed=fields.truth("stream"),
        conversation=_user(fields),
    )
    fields.finish(_NOTHING)
    return request


def _message(fields: Fields) -> Message:
    role = fields.require("role")
    if role not in _ROLES:
        raise FieldError(fields.name("role"), f"must be one of {', '.join(_ROLES)}")
    content = read_content(fields, fields.require("content"))
    fields.finish()
    return {"role": role, "content": content}


def _user(fields: Fields) -> str:
    metadata = fields.child("metadata")
    if metadata is None:
        return ""
    user = metadata.text("user_id") or ""
    metadata.finish()
    return user


class MessageWriter:
    """Writes messages.

    Args:
        request: what was asked.
    """

    def __init__(self, request: GenerationRequest) -> None:
        self._request = request
        self._id = f"msg_{uuid.uuid4().hex}"
        self._finish: tuple[str, str | None] = ("end_turn", None)

    def is_large(self, answers: list[WholeAnswer]) -> bool:
        """A message is one text, which is written in one go."""
        del answers
        return False

    def whole(self, answers: list[WholeAnswer], usage: TokenUsage) -> dict[str, Any]:
        """Return the answer at once."""
        (answer,) = answers
        reason, stop = _stop_reason(answer.finish, answer.stop)
        content = [{"type": "text", "text": answer.text}] if answer.text else []
        return {**self._message(usage), "content": content, "stop_reason": reason, "stop_sequence": stop}

    def opening(self, usage: TokenUsage) -> bytes:
        """Return how a stream begins."""
        block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        return _event({"type": "message_start", "message": self._message(usage)}) + _event(block)

    def piece(self, piece: AnswerPiece) -> bytes:
        """Return what the answer has grown by."""
        if piece.finish is not None:
            self._finish = _stop_reason(piece.finish, piece.stop)
        if not piece.text:
            return b""
        delta = {"type": "text_delta", "text": piece.text}
        return _event({"type": "content_block_delta", "index": 0, "delta": delta})

    def closing(self, usage: TokenUsage) -> bytes:
        """Return how a stream ends."""
        reason, stop = self._finish
        delta = {"stop_reason": reason, "stop_sequence": stop}
        told = {"type": "message_delta", "delta": delta, "usage": _usage(usage)}
        ended = {"type": "content_block_stop", "index": 0}
        return _event(ended) + _event(told) + _event({"type": "message_stop"})

    def _message(self, usage: TokenUsage) -> dict[str, Any]:
        return {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._request.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": _usage(usage),
        }


def _usage(usage: TokenUsage) -> dict[str, int]:
    return {"input_tokens": usage.prompt, "output_tokens": usage.completion}


def _stop_reason(finish: Finish, stop: str | None) -> tuple[str, str | None]:
    if stop is not None:
        return "stop_sequence", stop
    return ("end_turn" if finish is Finish.STOP else "max_tokens"), None


def _event(value: dict[str, Any]) -> bytes:
    return sse(to_json(value), value["type"])
