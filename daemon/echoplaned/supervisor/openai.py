"""Translator for OpenAI's ``/v1/completions``, as far as engines agree on it.

Ids of tokens and scores are read where a declaration says that the engine has them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

from echoplaned.engine_kinds.foreign import ForeignEngine, ScoringMethod
from echoplaned.supervisor.http import BadStatusError, EngineAwayError, EngineHttp
from echoplaned.supervisor.translating import (
    DEFAULT_MAX_TOKENS,
    NO_TOKEN,
    Generated,
    Prompt,
    TextPiece,
    TextScore,
    away,
    entries,
    lacking,
    number,
    post,
    read_event,
    refuse,
    settle_max_tokens,
    token_id,
    token_ids,
    written,
)
from echoplaned.worker_contract.inference.errors import InvalidInputError, ModelFailedError
from echoplaned.worker_contract.inference.lengths import check_length, check_text_lengths
from echoplaned.worker_contract.inference.sampling import Sampling

_COMPLETIONS: Final = "/v1/completions"
_DONE: Final = b"[DONE]"


class OpenAi:
    """Translates for one engine with OpenAI's API.

    Args:
        http: calls it.
        engine: what it can.
        name: what the model is called there.
        context_length: tokens of one sequence.
    """

    def __init__(self, http: EngineHttp, engine: ForeignEngine, name: str, context_length: int) -> None:
        self._http = http
        self._engine = engine
        self._name = name
        self._context_length = context_length

    async def open(self) -> None:
        """Nothing needs to be known."""

    async def generate(self, prompt: Prompt, sampling: Sampling) -> Generated:
        """Generate to the end."""
        found = await post(self._http, _COMPLETIONS, await self._request(prompt, sampling))
        choice = _choice(found)
        tokens = _tokens(choice)
        if choice.get("text") is None or not tokens:
            raise lacking("choices[0].text or choices[0].logprobs: without log-probabilities no answer can be judged")
        text = written(choice["text"], "choices[0].text")
        return Generated(text, [token for token, _ in tokens], [logprob for _, logprob in tokens])

    async def stream(self, prompt: Prompt, sampling: Sampling) -> AsyncGenerator[TextPiece, None]:
        """Generate, and yield the pieces as they come.

        A stream is good only if it says why it finished.
        """
        try:
            request = {**await self._request(prompt, sampling), "stream": True}
            async with aclosing(self._http.lines(_COMPLETIONS, request)) as lines:
                async for line in lines:
                    if line == _DONE:
                        break
                    choice = _choice(read_event(line))
                    tokens = _tokens(choice)
                    last = bool(choice.get("finish_reason"))
                    token, logprob = tokens[-1] if tokens else (NO_TOKEN, 0.0)
                    yield TextPiece(written(choice.get("text"), "choices[0].text"), token, logprob, last)
                    if last:
                        return
        except BadStatusError as error:
            refuse(error.answer)
        except EngineAwayError as error:
            raise away(error) from error
        raise ModelFailedError("the engine's stream ended without a finish_reason")

    async def score(self, prompt: Prompt, *, truncate: bool) -> TextScore:
        """Ask for the log-probabilities of the prompt itself."""
        if self._engine.scoring not in {ScoringMethod.PROMPT_LOGPROBS, ScoringMethod.GENERATE_LOGPROBS}:
            raise InvalidInputError("this engine cannot score a text: it tells nothing of a prompt's tokens")
        ids = await self._ids(prompt, truncate=truncate)
        if self._engine.scoring is ScoringMethod.GENERATE_LOGPROBS:
            return await self._generate_score(ids)
        request = {
            "model": self._name, "prompt": ids, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0,
        }  # fmt: skip
        choice = _choice(await post(self._http, _COMPLETIONS, request))
        told = choice.get("prompt_logprobs")
        if not isinstance(told, list) or len(told) != len(ids):
            raise lacking("choices[0].prompt_logprobs")
        logprobs = [_logprob_of(one, token) for one, token in zip(told[1:], ids[1:], strict=True)]
        return TextScore(ids[1:], logprobs)

    async def _generate_score(self, ids: list[int]) -> TextScore:
        """Score token ids by SGLang's own route.

        It tells of a prompt what its route of OpenAI's does not.
        """
        request = {
            "input_ids": ids, "sampling_params": {"max_new_tokens": 0, "temperature": 0}, "return_logprob": True,
            "logprob_start_len": 0,
        }  # fmt: skip
        found = await post(self._http, "/generate", request)
        meta = found.get("meta_info")
        told = meta.get("input_token_logprobs") if isinstance(meta, dict) else None
        if not isinstance(told, list) or len(told) != len(ids):
            raise lacking("meta_info.input_token_logprobs")
        return TextScore(ids[1:], [_logprob_at(one, token) for one, token in zip(told[1:], ids[1:], strict=True)])

    async def _ids(self, prompt: Prompt, *, truncate: bool) -> list[int]:
        ids = prompt
        if isinstance(ids, str):
            check_text_lengths([ids], self._context_length)
            request = {"model": self._name, "prompt": ids, "add_special_tokens": True}
            ids = token_ids((await post(self._http, "/tokenize", request)).get("tokens"), "tokens")
        # One token is generated after it, and has to have room.
        if truncate:
            ids = ids[: self._context_length - 1]
        check_length(0, len(ids), self._context_length - 1)
        if len(ids) < 2:
            raise InvalidInputError(
                "a sequence of one token has nothing to score: each is scored given those before it"
            )
        return ids

    async def _request(self, prompt: Prompt, sampling: Sampling) -> dict[str, Any]:
        length = await self._length(prompt, sampling) if isinstance(prompt, str) else len(prompt)
        if length:
            max_tokens = settle_max_tokens(length, sampling.max_tokens, self._context_length)
        else:
            max_tokens = sampling.max_tokens or min(self._context_length, DEFAULT_MAX_TOKENS)
        request: dict[str, Any] = {
            "model": self._name,
            "prompt": prompt,
            "max_tokens": max_tokens,
            "temperature": sampling.temperature,
            "logprobs": 1,
        }
        if sampling.seed is not None:
            request["seed"] = sampling.seed % 2**32
        if sampling.top_k:
            request["top_k"] = sampling.top_k
        if self._engine.returns_token_ids:
            request["return_token_ids"] = True
        return request

    async def _length(self, text: str, sampling: Sampling) -> int:
        """Return how many tokens a text has where that decides what is asked for, else 0.

        The engine itself refuses what does not fit, so that with a wanted number, and for a text that is short however it is cut, it need
        not be known. Engines that score have a route which tells it; where it does not answer, the default is asked for.
        """
        check_text_lengths([text], self._context_length)
        if sampling.max_tokens or len(text.encode()) + DEFAULT_MAX_TOKENS < self._context_length:
            return 0
        if self._engine.scoring not in {ScoringMethod.PROMPT_LOGPROBS, ScoringMethod.GENERATE_LOGPROBS}:
            return 0
        request = {"model": self._name, "prompt": text, "add_special_tokens": True}
        try:
            return len(token_ids((await post(self._http, "/tokenize", request)).get("tokens"), "tokens"))
        except (InvalidInputError, ModelFailedError):
            return 0


def _choice(found: dict[str, Any]) -> dict[str, Any]:
    choices = found.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise lacking("choices")
    choice: dict[str, Any] = choices[0]
    return choice


def _tokens(choice: dict[str, Any]) -> list[tuple[int, float]]:
    """Return token ids with log-probabilities; id -1: the engine does not tell it.

    Engines write them in two forms.

    Raises:
        CallError: what is told of them is of another form.
    """
    told = choice.get("logprobs")
    if not isinstance(told, dict):
        return []
    ids = token_ids(choice.get("token_ids"), "choices[0].token_ids")
    if isinstance(told.get("content"), list):
        pairs = [_content_pair(one) for one in told["content"]]
    else:
        logprobs = entries(told.get("token_logprobs"), "choices[0].logprobs.token_logprobs")
        pairs = [(NO_TOKEN, number(one)) for one in logprobs]
    if len(ids) == len(pairs):
        pairs = [(token, logprob) for token, (_, logprob) in zip(ids, pairs, strict=True)]
    return [(token, logprob) for token, logprob in pairs if logprob is not None]


def _content_pair(one: object) -> tuple[int, float | None]:
    what = "choices[0].logprobs.content"
    if not isinstance(one, dict):
        raise lacking(f"objects in {what}")
    return token_id(one.get("id", NO_TOKEN), what), number(one.get("logprob"))


def _logprob_of(one: object, token: int) -> float:
    entry = one.get(str(token)) if isinstance(one, dict) else None
    value = number(entry.get("logprob")) if isinstance(entry, dict) else None
    if value is None:
        raise lacking(f"the log-probability of token {token}")
    return value


def _logprob_at(one: object, token: int) -> float:
    """Read ``[logprob, token id, text]``."""
    pair = one[:2] if isinstance(one, list) and len(one) >= 2 else (None, None)
    value = number(pair[0]) if pair[1] == token else None
    if value is None:
        raise lacking(f"the log-probability of token {token}")
    return value
