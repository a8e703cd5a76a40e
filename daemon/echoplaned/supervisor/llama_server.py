"""Translator for llama-server's own API.

Token ids in and out, and raw log-probabilities of each token.

It leaves the log-probability of a token out that ends in the middle of a UTF-8 character, fails where an answer ends with one, and tells
none of a prompt. All of them are found by forcing: a bias of 1000 makes the wanted token certain, and what is told of it is its
probability without the bias.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

from echoplaned.supervisor.http import BadStatusError, EngineAwayError, EngineHttp
from echoplaned.supervisor.translating import (
    NO_TOKEN,
    Generated,
    Prompt,
    TextPiece,
    TextScore,
    ask,
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

_FORCED: Final = 1000.0
_PRINTABLE: Final = "a"
_HALF_A_CHARACTER: Final = "does not match the expected Content-only format"
"""What llama-server says (status 500) of an answer with bytes that are no character."""

_LOGPROB: Final = re.compile(rb'"logprob":(-?[0-9.eE+-]+)')
_RANDOM_SEED: Final = -1


class LlamaServer:
    """Translates for one llama-server.

    Args:
        http: calls it.
        context_length: tokens of one sequence.
    """

    def __init__(self, http: EngineHttp, context_length: int) -> None:
        self._http = http
        self._context_length = context_length
        self._vocabulary = 0
        self._printable = 0

    async def open(self) -> None:
        """Learn the size of its vocabulary, and a token that is a whole character."""
        answer = await self._http.call("GET", "/v1/models", timeout_s=30.0)
        found = answer.json()
        try:
            self._vocabulary = token_id(found["data"][0]["meta"]["n_vocab"], "n_vocab")
        except (KeyError, IndexError, TypeError, ModelFailedError) as error:
            raise ModelFailedError(
                "llama-server does not tell the size of its vocabulary: is it older than b4000?"
            ) from error
        found = await post(self._http, "/tokenize", {"content": _PRINTABLE, "add_special": False})
        tokens = token_ids(found.get("tokens"), "tokens")
        if not tokens:
            raise lacking(f"a token of {_PRINTABLE!r}")
        self._printable = tokens[0]

    async def generate(self, prompt: Prompt, sampling: Sampling) -> Generated:
        """Generate to the end."""
        ids = await self._ids(prompt)
        found = await self._complete(self._request(ids, sampling))
        told, text = found.get("completion_probabilities"), found.get("content")
        if not isinstance(told, list) or not isinstance(found.get("tokens"), list) or not isinstance(text, str):
            raise lacking("tokens, content or completion_probabilities")
        tokens = token_ids(found["tokens"], "tokens")
        return Generated(written(text, "content"), tokens, await self._fill(ids, tokens, told))

    async def stream(self, prompt: Prompt, sampling: Sampling) -> AsyncGenerator[TextPiece, None]:
        """Generate, and yield each token with its text.

        Tokens within a character come with its last one.
        """
        ids = await self._ids(prompt)
        request = self._request(ids, sampling)
        wanted = int(request["n_predict"])
        async with aclosing(self._events(request)) as events:
            async for found in events:
                last = bool(found.get("stop"))
                if last or found.get("tokens"):
                    piece = _piece(found, last=last or found.get("tokens_predicted") == wanted)
                    yield piece
                    if piece.last:
                        return
        yield TextPiece("", NO_TOKEN, 0.0, last=True)

    async def score(self, prompt: Prompt, *, truncate: bool) -> TextScore:
        """Force each token after those before it, one by one."""
        ids = await self._ids(prompt, truncate=truncate)
        if len(ids) < 2:
            raise InvalidInputError(
                "a sequence of one token has nothing to score: each is scored given those before it"
            )
        logprobs = [await self._score_one(ids[:index], ids[index]) for index in range(1, len(ids))]
        return TextScore(ids[1:], logprobs)

    async def _ids(self, prompt: Prompt, *, truncate: bool = False) -> list[int]:
        """Return the tokens of a prompt, those that the model adds to every text included."""
        if isinstance(prompt, str):
            check_text_lengths([prompt], self._context_length)
            found = await post(self._http, "/tokenize", {"content": prompt, "add_special": True})
            ids = token_ids(found.get("tokens"), "tokens")
        else:
            ids = prompt
            if min(ids, default=0) < 0 or max(ids, default=0) >= self._vocabulary:
                raise InvalidInputError(f"input_ids holds an id outside 0..{self._vocabulary - 1}")
        if truncate:
            ids = ids[: self._context_length]
        check_length(0, len(ids), self._context_length)
        return ids

    def _request(self, ids: list[int], sampling: Sampling) -> dict[str, Any]:
        return {
            "prompt": ids,
            "n_predict": settle_max_tokens(len(ids), sampling.max_tokens, self._context_length),
            "temperature": sampling.temperature,
            "top_k": sampling.top_k,
            "samplers": ["top_k", "temperature"],
            "seed": _RANDOM_SEED if sampling.seed is None else sampling.seed % 2**32,
            "n_probs": 1,
            "return_tokens": True,
            "cache_prompt": True,
        }

    async def _complete(self, request: dict[str, Any]) -> dict[str, Any]:
        """Generate to the end.

        The engine refuses to tell an answer at once that holds bytes of no character, which no length can be chosen to avoid: they may
        stand anywhere. Streamed, it tells all but an unfinished character at the end.
        """
        try:
            whole: dict[str, Any] = await post(self._http, "/completion", request)
        except ModelFailedError as error:
            if _HALF_A_CHARACTER not in str(error):
                raise
        else:
            return whole
        text, tokens, told = "", list[int](), list[Any]()
        async with aclosing(self._events(request)) as events:
            async for found in events:
                text += written(found.get("content"), "content")
                tokens += token_ids(found.get("tokens"), "tokens")
                told += entries(found.get("completion_probabilities"), "completion_probabilities")
        return {"content": text, "tokens": tokens, "completion_probabilities": told}

    async def _events(self, request: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Yield what the engine tells of a streamed answer.

        Its end comes too, unless that lies within a character.

        Raises:
            ModelFailedError: the stream breaks off, or the engine tells an error.
            NotServingError: the engine is away.
        """
        try:
            async with aclosing(self._http.lines("/completion", {**request, "stream": True})) as lines:
                async for line in lines:
                    try:
                        found = read_event(line)
                    except ModelFailedError as error:
                        if _HALF_A_CHARACTER not in str(error):
                            raise
                        return
                    yield found
                    if found.get("stop"):
                        return
        except BadStatusError as error:
            refuse(error.answer)
        except EngineAwayError as error:
            raise away(error) from error
        raise ModelFailedError("the engine's stream ended without its end")

    async def _fill(self, prompt: list[int], tokens: list[int], told: list[Any]) -> list[float]:
        """Return a log-probability for each token; those that were not told are asked for."""
        left = [one for one in told if isinstance(one, dict)]
        found: list[float] = []
        for index, token in enumerate(tokens):
            value = number(left[0].get("logprob")) if left and left[0].get("id") == token else None
            if value is not None:
                left.pop(0)
            found.append(value if value is not None else await self._score_one([*prompt, *tokens[:index]], token))
        return found

    async def _score_one(self, before: list[int], token: int) -> float:
        request = {"prompt": before, "n_predict": 1, "temperature": 0, "cache_prompt": True}
        forced = {**request, "n_probs": 1, "logit_bias": [[token, _FORCED]]}
        try:
            told = (await post(self._http, "/completion", forced)).get("completion_probabilities")
        except ModelFailedError as error:
            if _HALF_A_CHARACTER not in str(error):
                raise
            told = None
        first = told[0] if isinstance(told, list) and told else None
        value = number(first.get("logprob")) if isinstance(first, dict) and first.get("id") == token else None
        if value is not None:
            return value
        return await self._look_up({**request, "logit_bias": [[self._printable, _FORCED]]}, token)

    async def _look_up(self, request: dict[str, Any], token: int) -> float:
        """Return a token's log-probability out of the whole distribution.

        That is megabytes of JSON, of which one number is read.
        """
        answer = await ask(self._http, "/completion", {**request, "n_probs": self._vocabulary})
        start = answer.body.find(b'"top_logprobs"')
        at = answer.body.find(b'"id":%d,' % token, max(0, start))
        found = _LOGPROB.search(answer.body, at) if at >= 0 else None
        try:
            value = number(float(found[1])) if found is not None else None
        except ValueError:
            value = None
        if value is None:
            raise lacking(f"the log-probability of token {token}")
        return value


def _piece(found: dict[str, Any], *, last: bool) -> TextPiece:
    tokens = token_ids(found.get("tokens"), "tokens")
    told = entries(found.get("completion_probabilities"), "completion_probabilities")
    logprob = number(told[-1].get("logprob")) if told and isinstance(told[-1], dict) else None
    token = tokens[-1] if tokens and logprob is not None else NO_TOKEN
    text = written(found.get("content"), "content")
    return TextPiece(text, token, logprob if logprob is not None else 0.0, last)
