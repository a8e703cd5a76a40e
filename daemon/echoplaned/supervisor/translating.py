"""What every translator of inference does.

From prompts to an engine's requests, and from its answers to tokens.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Final, NoReturn, Protocol

from echoplaned.core.text import escape_lines
from echoplaned.supervisor.http import EngineAwayError, EngineHttp, EngineSlowError, HttpAnswer, NoConnectionError
from echoplaned.worker_contract.inference.errors import (
    CallError,
    InvalidInputError,
    ModelFailedError,
    NotServingError,
    OverloadedError,
)
from echoplaned.worker_contract.inference.sampling import Sampling

NO_TOKEN: Final = -1
"""Stands for a token whose id the engine does not tell, as it fills up shorter rows."""

DEFAULT_MAX_TOKENS: Final = 64
"""Of a generation whose caller names none, as the embedded engine has it."""

_OVERLOADED: Final = frozenset({429, 503})
_NOT_OURS: Final = frozenset({400, 404, 413, 422})
_MAX_MESSAGE: Final = 500
_MAX_TOKEN: Final = 2**31 - 1

Prompt = str | list[int]
"""A text, or its token ids."""


@dataclass(frozen=True, slots=True)
class Generated:
    """A finished generation.

    Attributes:
        text: generated text.
        token_ids: ids of the generated tokens; -1: the engine does not tell it.
        logprobs: natural log-probabilities, one a token, 0 at most.
    """

    text: str
    token_ids: list[int]
    logprobs: list[float]


@dataclass(frozen=True, slots=True)
class TextPiece:
    """A part of a generation, as it comes.

    Attributes:
        text: text of this part; empty while a character is incomplete.
        token_id: id of its last token; -1: the engine does not tell it.
        logprob: natural log-probability of that token, 0 at most; 0 as well where it is not told.
        last: whether no part follows.
    """

    text: str
    token_id: int
    logprob: float
    last: bool


@dataclass(frozen=True, slots=True)
class TextScore:
    """Every token of a text but the first, given those before it.

    Attributes:
        token_ids: ids of these tokens.
        logprobs: natural log-probabilities, one a token, 0 at most.
    """

    token_ids: list[int]
    logprobs: list[float]


class Translator(Protocol):
    """Translates inference for one engine.

    Each method raises ``CallError``: for the caller's fault, the engine's, or too much load.
    """

    async def open(self) -> None:
        """Look at the engine once it is ready: what later calls need to know of it."""
        ...

    async def generate(self, prompt: Prompt, sampling: Sampling) -> Generated:
        """Generate to the end."""
        ...

    def stream(self, prompt: Prompt, sampling: Sampling) -> AsyncGenerator[TextPiece, None]:
        """Generate, and yield the tokens as they come."""
        ...

    async def score(self, prompt: Prompt, *, truncate: bool) -> TextScore:
        """Score a text as it stands."""
        ...


async def ask(http: EngineHttp, path: str, body: object) -> HttpAnswer:
    """Post a call, and return a good answer.

    Raises:
        CallError: there is none.
    """
    try:
        answer = await http.call("POST", path, body)
    except EngineAwayError as error:
        raise away(error) from error
    except EngineSlowError as error:
        raise ModelFailedError(str(error)) from error
    if answer.status != 200:
        refuse(answer)
    return answer


def settle_max_tokens(length: int, max_tokens: int, context_length: int) -> int:
    """Return how many tokens an engine is asked for behind a prompt of some.

    ``max_tokens`` 0: as many as the default and the context allow.

    Raises:
        InvalidInputError: they do not fit into the context together.
    """
    room = context_length - length
    if room < (max_tokens or 1):
        raise InvalidInputError(
            f"a prompt of {length} tokens and max_tokens {max_tokens or 1} exceed this version's context_length of "
            f"{context_length} tokens"
        )
    return max_tokens or min(room, DEFAULT_MAX_TOKENS)


def away(error: EngineAwayError) -> CallError:
    """Return what it means to a caller that an engine was not reached.

    A process that has no connection left has too much to do, and says nothing of the engine.
    """
    return OverloadedError(str(error)) if isinstance(error, NoConnectionError) else NotServingError(str(error))


async def post(http: EngineHttp, path: str, body: object) -> Any:  # noqa: ANN401 - whatever the engine wrote
    """Post a call, and return the JSON of a good answer.

    Raises:
        CallError: there is none.
    """
    answer = await ask(http, path, body)
    found = answer.json()
    if not isinstance(found, dict):
        raise ModelFailedError(f"the engine's answer to {path} is no JSON object")
    if "error" in found:
        refuse(answer)
    return found


def refuse(answer: HttpAnswer) -> NoReturn:
    """Raise what an engine's error means to its caller.

    Raises:
        CallError: always.
    """
    message = error_message(answer.json()) or f"the engine answered with status {answer.status}"
    if answer.status in _OVERLOADED:
        raise OverloadedError(message)
    if answer.status in _NOT_OURS:
        raise InvalidInputError(message)
    raise ModelFailedError(message)


def error_message(found: object) -> str:
    """Return the message of an engine's error; empty: there is none.

    It may come in any of the usual envelopes.
    """
    inner = found.get("error", found) if isinstance(found, dict) else found
    text = inner.get("message", "") if isinstance(inner, dict) else inner
    return escape_lines(str(text)[:_MAX_MESSAGE]) if text and isinstance(text, (str, int)) else ""


def read_event(line: bytes) -> dict[str, Any]:
    """Return one event of an engine's stream.

    Raises:
        ModelFailedError: it is no JSON object, or an error: a stream that fails goes on with status 200.
    """
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ModelFailedError("the engine's stream holds what is no JSON") from error
    if not isinstance(found, dict) or "error" in found:
        raise ModelFailedError(error_message(found) or "the engine's stream failed")
    return found


def number(value: object) -> float | None:
    """Return a finite log-probability; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if -1e30 < value < 1e30 else None


def entries(value: object, what: str) -> list[Any]:
    """Return a list of an answer; null is an empty one.

    Raises:
        CallError: it is none.
    """
    if value is not None and not isinstance(value, list):
        raise lacking(f"a list in {what}")
    return value or []


def token_id(value: object, what: str) -> int:
    """Return a token's id, or ``NO_TOKEN``.

    Raises:
        CallError: it is none.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not NO_TOKEN <= value <= _MAX_TOKEN:
        raise lacking(f"ids of tokens in {what}")
    return value


def token_ids(value: object, what: str) -> list[int]:
    """Return a list of token ids; null is an empty one.

    Raises:
        CallError: it is none.
    """
    return [token_id(one, what) for one in entries(value, what)]


def written(value: object, what: str) -> str:
    """Return a text of an answer; null is an empty one.

    Raises:
        CallError: it is none, or holds half a character, which nobody can be sent.
    """
    if value is None:
        return ""
    try:
        if isinstance(value, str) and (value.isascii() or value.encode()):
            return value
    except UnicodeEncodeError:
        pass
    raise lacking(f"a text in {what}")


def lacking(what: str) -> CallError:
    """Return the error of an answer that lacks something."""
    return ModelFailedError(f"the engine's answer lacks {what}")
