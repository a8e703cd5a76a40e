"""Reads OpenAI's requests: every field is taken, or refused by its name.

``docs/openai.md`` has the list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from echoplaned.worker.chat_template import Message
from echoplaned.worker.http.fields import Fields, as_text
from echoplaned.worker.http.generation import GenerationRequest, valid_sampling
from echoplaned.worker_contract.inference.errors import FieldError
from echoplaned.worker_contract.inference.sampling import Sampling

MAX_STOPS: Final = 4
MAX_TOP_LOGPROBS: Final = 20
MAX_COMPLETION_LOGPROBS: Final = 5
MAX_INPUTS: Final = 2048
"""Texts of one request for embeddings."""

MAX_PROMPTS: Final = 4096
"""Of one request for completions, whatever ``max_concurrency`` the version has: it can have no more."""

MAX_MESSAGES: Final = 4096
MAX_PARTS: Final = 4096
"""Of the contents of all messages together."""

_DEFAULT_COMPLETION_TOKENS: Final = 16
_MAX_TOKENS: Final = 2**31 - 1
_INT64: Final = 2**63
_MAX_SHOWN: Final = 64  # characters of a value, in an error
_MAX_TEMPERATURE: Final = 2.0
_MAX_PENALTY: Final = 2.0
_MAX_TOP_K: Final = 2**31 - 1

# Values that change nothing, of parameters that this engine does not do.
_NOTHING: Final[Mapping[str, Sequence[Any]]] = {
    "audio": (),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "logit_bias": ({},),
    "metadata": ({},),
    "modalities": (["text"],),
    "moderation": (),
    "parallel_tool_calls": (True,),
    "prediction": (),
    "prompt_cache_key": (),
    "prompt_cache_options": (),
    "prompt_cache_retention": (),
    "reasoning_effort": ("none",),
    "response_format": ({"type": "text"},),
    "safety_identifier": (),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "verbosity": (),
    "web_search_options": (),
}
_NOTHING_IN_COMPLETIONS: Final[Mapping[str, Sequence[Any]]] = {
    "best_of": (1,),
    "echo": (False,),
    "logit_bias": ({},),
    "suffix": ("",),
}
_NOTHING_IN_MESSAGES: Final[Mapping[str, Sequence[Any]]] = {
    "audio": (),
    "function_call": (),
    "name": (),
    "refusal": (),
    "tool_call_id": (),
    "tool_calls": ([],),
    "annotations": ([],),
}
# Templates know no developer: it is what newer models call the system.
_ROLES: Final = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """Texts to embed.

    Attributes:
        model: the name that the caller wrote.
        texts: the texts; empty: there are rows.
        rows: token ids.
        as_base64: whether vectors are sent as base64 of little-endian FP32.
        conversation: who asks, as far as the caller says; empty: it does not.
    """

    model: str
    texts: tuple[str, ...]
    rows: tuple[tuple[int, ...], ...]
    as_base64: bool
    conversation: str


def read_chat(data: Mapping[str, Any]) -> GenerationRequest:
    """Read a request for a chat completion.

    Raises:
        FieldError: a field is missing, not taken, or out of range.
    """
    fields = Fields(data)
    model = as_text("model", fields.require("model"))
    messages = tuple(map(_message, read_turns(fields)))
    has_logprobs = fields.truth("logprobs")
    top = fields.whole("top_logprobs", 0, MAX_TOP_LOGPROBS) or 0
    if top and not has_logprobs:
        raise FieldError("top_logprobs", "needs logprobs: true")
    limit = fields.whole("max_completion_tokens", 1, _MAX_TOKENS)
    older = fields.whole("max_tokens", 1, _MAX_TOKENS)
    if limit is not None and older is not None and limit != older:
        raise FieldError("max_tokens", "differs from max_completion_tokens; send one of them")
    is_streamed, has_usage = _stream(fields)
    request = GenerationRequest(
        model=model,
        messages=messages,
        sampling=_sampling(fields, limit or older or 0, top),
        count=fields.whole("n", 1, _MAX_TOKENS) or 1,
        stops=fields.texts("stop", MAX_STOPS, alone=True),
        is_streamed=is_streamed,
        has_usage=has_usage,
        has_logprobs=has_logprobs,
        conversation=fields.text("user") or "",
    )
    fields.finish(_NOTHING)
    return request


def read_completion(data: Mapping[str, Any]) -> GenerationRequest:
    """Read a request for a completion of prompts.

    Raises:
        FieldError: a field is missing, not taken, or out of range.
    """
    fields = Fields(data)
    model = as_text("model", fields.require("model"))
    texts, rows = read_inputs(fields, "prompt", MAX_PROMPTS)
    top = fields.whole("logprobs", 0, MAX_COMPLETION_LOGPROBS)
    is_streamed, has_usage = _stream(fields)
    request = GenerationRequest(
        model=model,
        texts=texts,
        rows=rows,
        sampling=_sampling(fields, fields.whole("max_tokens", 1, _MAX_TOKENS) or 0, top or 0),
        default_tokens=_DEFAULT_COMPLETION_TOKENS,
        count=fields.whole("n", 1, _MAX_TOKENS) or 1,
        stops=fields.texts("stop", MAX_STOPS, alone=True),
        is_streamed=is_streamed,
        has_usage=has_usage,
        has_logprobs=top is not None,
        conversation=fields.text("user") or "",
    )
    fields.finish(_NOTHING_IN_COMPLETIONS)
    return request


def read_embeddings(data: Mapping[str, Any]) -> EmbeddingRequest:
    """Read a request for embeddings.

    Raises:
        FieldError: a field is missing, not taken, or out of range.
    """
    fields = Fields(data)
    model = as_text("model", fields.require("model"))
    texts, rows = read_inputs(fields, "input", MAX_INPUTS)
    form = fields.text("encoding_format") or "float"
    if form not in {"float", "base64"}:
        raise FieldError("encoding_format", "must be float or base64")
    conversation = fields.text("user") or ""
    fields.finish({"dimensions": ()})
    return EmbeddingRequest(model, texts, rows, form == "base64", conversation)


def read_inputs(fields: Fields, name: str, most: int) -> tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]:
    """Return texts, or rows of token ids: each may be one alone, or several in a list.

    Raises:
        FieldError: it is something else, or empty, or they are more than ``most``.
    """
    value = fields.require(name)
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list) and value:
        if _is_ids(value):
            return (), (tuple(value),)
        if len(value) > most:
            raise FieldError(name, f"has {len(value)} texts; a request has at most {most}")
        if all(isinstance(one, str) for one in value):
            return tuple(as_text(f"{name}[{index}]", one) for index, one in enumerate(value)), ()
        if all(isinstance(one, list) and one and _is_ids(one) for one in value):
            return (), tuple(tuple(one) for one in value)
    raise FieldError(
        name, "must be a text, a list of texts, a list of token ids, or a list of such lists; none of them empty"
    )


def _is_ids(value: list[Any]) -> bool:
    return all(type(one) is int and -_INT64 <= one < _INT64 for one in value)


def _sampling(fields: Fields, max_tokens: int, top_logprobs: int) -> Sampling:
    """Read how to choose tokens, with OpenAI's defaults.

    They are a temperature of 1 and no other limit.
    """
    temperature = fields.number("temperature", 0.0, _MAX_TEMPERATURE)
    top_p = fields.number("top_p", 0.0, 1.0)
    return valid_sampling(
        Sampling(
            max_tokens=max_tokens,
            temperature=1.0 if temperature is None else temperature,
            top_k=fields.whole("top_k", 0, _MAX_TOP_K) or 0,
            seed=fields.whole("seed", -_INT64, _INT64 - 1),
            top_p=1.0 if top_p is None else top_p,
            frequency_penalty=fields.number("frequency_penalty", -_MAX_PENALTY, _MAX_PENALTY) or 0.0,
            presence_penalty=fields.number("presence_penalty", -_MAX_PENALTY, _MAX_PENALTY) or 0.0,
            top_logprobs=top_logprobs,
        )
    )


def _stream(fields: Fields) -> tuple[bool, bool]:
    """Return whether to stream, and whether the stream ends with its usage."""
    is_streamed = fields.truth("stream")
    options = fields.child("stream_options")
    if options is None:
        return is_streamed, False
    if not is_streamed:
        raise FieldError("stream_options", "needs stream: true")
    has_usage = options.truth("include_usage")
    options.finish({"include_obfuscation": (False,)})
    return is_streamed, has_usage


def read_turns(fields: Fields) -> list[Fields]:
    """Return the messages of a conversation, counted and not read yet.

    Raises:
        FieldError: it has none, or they or their parts are too many.
    """
    found = fields.children("messages", MAX_MESSAGES)
    parts = sum(len(content) for one in found if isinstance(content := one.take("content"), list))
    if parts > MAX_PARTS:
        raise FieldError("messages", f"have {parts} parts of content; a request has at most {MAX_PARTS}")
    return found


def _message(fields: Fields) -> Message:
    """Read one message: a role and a text."""
    role = as_text(fields.name("role"), fields.require("role"))
    if role not in _ROLES:
        raise FieldError(fields.name("role"), f"must be one of {', '.join(_ROLES)}; tools are not called here")
    content = read_content(fields, fields.require("content"))
    fields.finish(_NOTHING_IN_MESSAGES)
    return {"role": _ROLES[role], "content": content}


def _shown(value: object) -> str:
    """Return what a caller wrote as an error shows it.

    Only a text is shown: the rest may be as large as the body.
    """
    return repr(value[:_MAX_SHOWN]) if isinstance(value, str) else "something else than a text"


def read_content(fields: Fields, value: object, field: str = "content") -> str:
    """Return a message's text: given as one, or in parts, which a line break joins.

    Raises:
        FieldError: a part is something else than text.
    """
    if isinstance(value, str):
        return as_text(fields.name(field), value)
    texts: list[str] = []
    for part in fields.children(field, MAX_PARTS):
        kind = part.require("type")
        if kind != "text":
            raise FieldError(part.name("type"), f"must be text: nothing else is understood, not {_shown(kind)}")
        texts.append(as_text(part.name("text"), part.require("text")))
        part.finish()
    return "\n".join(texts)
