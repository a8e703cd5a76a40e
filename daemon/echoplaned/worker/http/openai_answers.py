"""Writes OpenAI's chat completions, completions and embeddings."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from echoplaned.worker.completing import AnswerPiece, TextToken
from echoplaned.worker.http.exchange import to_json
from echoplaned.worker.http.generation import (
    GenerationRequest,
    TokenUsage,
    WholeAnswer,
    sse,
    token_texts,
)
from echoplaned.worker.worker import Serving

DONE: Final = b"data: [DONE]\n\n"


class OpenAiWriter:
    """What both kinds of completion have in common.

    Args:
        serving: whose answers they are.
        request: what was asked.
        created_s: seconds since the epoch.
    """

    prefix = ""
    kind = ""
    chunk_kind = ""

    def __init__(self, serving: Serving, request: GenerationRequest, created_s: int) -> None:
        self._serving = serving
        self._request = request
        self._head = {
            "id": f"{self.prefix}-{uuid.uuid4().hex}",
            "created": created_s,
            "model": request.model,
            "system_fingerprint": str(serving.model.options.instance.version),
        }

    def whole(self, answers: list[WholeAnswer], usage: TokenUsage) -> dict[str, Any]:
        """Return the answers at once."""
        choices = [self.choice(index, answer) for index, answer in enumerate(answers)]
        return {**self._head, "object": self.kind, "choices": choices, "usage": write_usage(usage)}

    def opening(self, usage: TokenUsage) -> bytes:
        """Return how a stream begins."""
        del usage
        return b""

    def piece(self, piece: AnswerPiece) -> bytes:
        """Return what an answer has grown by, and how it ended if it did."""
        raise NotImplementedError

    def closing(self, usage: TokenUsage) -> bytes:
        """Return how a stream ends."""
        if not self._request.has_usage:
            return DONE
        value = {**self._head, "object": self.chunk_kind, "choices": [], "usage": write_usage(usage)}
        return sse(to_json(value)) + DONE

    def choice(self, index: int, answer: WholeAnswer) -> dict[str, Any]:
        """Return one whole answer."""
        raise NotImplementedError

    def chunk(self, choice: dict[str, Any]) -> bytes:
        """Return a piece of a stream."""
        usage = {"usage": None} if self._request.has_usage else {}
        return sse(to_json({**self._head, "object": self.chunk_kind, "choices": [choice], **usage}))


class ChatWriter(OpenAiWriter):
    """Writes chat completions."""

    prefix = "chatcmpl"
    kind = "chat.completion"
    chunk_kind = "chat.completion.chunk"

    def choice(self, index: int, answer: WholeAnswer) -> dict[str, Any]:
        """Return one whole answer."""
        message = {"role": "assistant", "content": answer.text, "refusal": None}
        return {
            "index": index,
            "message": message,
            "logprobs": self._logprobs(answer.tokens),
            "finish_reason": answer.finish.value,
        }

    def opening(self, usage: TokenUsage) -> bytes:
        """Return each answer's first piece, which says whose words follow."""
        del usage
        return b"".join(
            self._piece(index, {"role": "assistant", "content": ""}) for index in range(self._request.count)
        )

    def piece(self, piece: AnswerPiece) -> bytes:
        """Return what an answer has grown by, and how it ended if it did."""
        data = b""
        if piece.text or (piece.tokens and self._request.has_logprobs):
            data = self._piece(piece.index, {"content": piece.text}, self._logprobs(piece.tokens))
        if piece.finish is not None:
            data += self._piece(piece.index, {}, finish=piece.finish.value)
        return data

    def _piece(
        self, index: int, delta: dict[str, str], logprobs: dict[str, Any] | None = None, finish: str | None = None
    ) -> bytes:
        return self.chunk({"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish})

    def _logprobs(self, tokens: Sequence[TextToken]) -> dict[str, Any] | None:
        if not self._request.has_logprobs:
            return None
        return {"content": [self._token(one) for one in tokens], "refusal": None}

    def _token(self, one: TextToken) -> dict[str, Any]:
        pairs = [(one.token.token_id, one.token.logprob), *one.token.alternatives]
        written = [
            {"token": text, "logprob": logprob, "bytes": list(raw)}
            for (text, raw), (_, logprob) in zip(
                token_texts(self._serving, (token_id for token_id, _ in pairs)), pairs, strict=True
            )
        ]
        return {**written[0], "top_logprobs": written[1:]}


class CompletionWriter(OpenAiWriter):
    """Writes completions of prompts."""

    prefix = "cmpl"
    kind = "text_completion"
    chunk_kind = "text_completion"

    def choice(self, index: int, answer: WholeAnswer) -> dict[str, Any]:
        """Return one whole answer."""
        return self._choice(index, answer.text, answer.tokens, answer.finish.value)

    def piece(self, piece: AnswerPiece) -> bytes:
        """Return what an answer has grown by, and how it ended if it did."""
        if not piece.text and not piece.tokens and piece.finish is None:
            return b""
        finish = None if piece.finish is None else piece.finish.value
        return self.chunk(self._choice(piece.index, piece.text, piece.tokens, finish))

    def _choice(self, index: int, text: str, tokens: Sequence[TextToken], finish: str | None) -> dict[str, Any]:
        return {"index": index, "text": text, "logprobs": self._logprobs(tokens), "finish_reason": finish}

    def _logprobs(self, tokens: Sequence[TextToken]) -> dict[str, Any] | None:
        if not self._request.has_logprobs:
            return None
        texts = [text for text, _ in token_texts(self._serving, (one.token.token_id for one in tokens))]
        return {
            "tokens": texts,
            "token_logprobs": [one.token.logprob for one in tokens],
            "top_logprobs": [self._likeliest(one) for one in tokens] if self._request.sampling.top_logprobs else None,
            "text_offset": [one.offset for one in tokens],
        }

    def _likeliest(self, one: TextToken) -> dict[str, float]:
        found = token_texts(self._serving, (token_id for token_id, _ in one.token.alternatives))
        likeliest = {text: logprob for (text, _), (_, logprob) in zip(found, one.token.alternatives, strict=True)}
        ((own, _),) = token_texts(self._serving, iter([one.token.token_id]))
        return {**likeliest, own: one.token.logprob}


def write_usage(usage: TokenUsage) -> dict[str, int]:
    """Return the tokens that a request took."""
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
    }


def write_embeddings(
    vectors: npt.NDArray[np.float32], model: str, prompt_tokens: int, *, as_base64: bool
) -> dict[str, Any]:
    """Return vectors [texts, width] in OpenAI's form."""
    data: list[dict[str, Any]] = [
        {
            "object": "embedding",
            "index": index,
            "embedding": base64.b64encode(row.astype("<f4").tobytes()).decode() if as_base64 else row.tolist(),
        }
        for index, row in enumerate(vectors)
    ]
    usage = {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens}
    return {"object": "list", "data": data, "model": model, "usage": usage}
