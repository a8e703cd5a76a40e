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
from echoplaned.worker.http.json_pieces import PIECE_FLOATS, PIECE_PACKED, PIECE_VALUES, is_large, listed
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
        self._values = 1 + request.sampling.top_logprobs
        self._head = {
            "id": f"{self.prefix}-{uuid.uuid4().hex}",
            "created": created_s,
            "model": request.model,
            "system_fingerprint": str(serving.model.options.instance.version),
        }

    def is_large(self, answers: list[WholeAnswer]) -> bool:
        """Say whether there are so many tokens that they are written in pieces."""
        if not self._request.has_logprobs:
            return False
        return is_large(sum(len(one.tokens) for one in answers) * self._values, PIECE_VALUES)

    def whole(self, answers: list[WholeAnswer], usage: TokenUsage) -> dict[str, Any]:
        """Return the answers at once.

        Large ones have ``Chunks`` in the place of their long lists.
        """
        chunk = max(1, PIECE_VALUES // self._values) if self.is_large(answers) else 0
        choices = [self.choice(index, answer, chunk) for index, answer in enumerate(answers)]
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

    def choice(self, index: int, answer: WholeAnswer, chunk: int) -> dict[str, Any]:
        """Return one whole answer.

        ``chunk``: tokens that are written at a time, 0: all of them now.
        """
        raise NotImplementedError

    def text_of(self, token_id: int) -> str:
        """Return one token's text."""
        ((text, _),) = token_texts(self._serving, iter([token_id]))
        return text

    def chunk(self, choice: dict[str, Any]) -> bytes:
        """Return a piece of a stream."""
        usage = {"usage": None} if self._request.has_usage else {}
        return sse(to_json({**self._head, "object": self.chunk_kind, "choices": [choice], **usage}))


class ChatWriter(OpenAiWriter):
    """Writes chat completions."""

    prefix = "chatcmpl"
    kind = "chat.completion"
    chunk_kind = "chat.completion.chunk"

    def choice(self, index: int, answer: WholeAnswer, chunk: int) -> dict[str, Any]:
        """Return one whole answer.

        ``chunk``: tokens that are written at a time, 0: all of them now.
        """
        message = {"role": "assistant", "content": answer.text, "refusal": None}
        return {
            "index": index,
            "message": message,
            "logprobs": self._logprobs(answer.tokens, chunk),
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

    def _logprobs(self, tokens: Sequence[TextToken], chunk: int = 0) -> dict[str, Any] | None:
        if not self._request.has_logprobs:
            return None
        return {"content": listed(tokens, self._token, chunk), "refusal": None}

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

    def choice(self, index: int, answer: WholeAnswer, chunk: int) -> dict[str, Any]:
        """Return one whole answer.

        ``chunk``: tokens that are written at a time, 0: all of them now.
        """
        return self._choice(index, answer.text, self._logprobs(answer.tokens, chunk), answer.finish.value)

    def piece(self, piece: AnswerPiece) -> bytes:
        """Return what an answer has grown by, and how it ended if it did."""
        if not piece.text and not piece.tokens and piece.finish is None:
            return b""
        finish = None if piece.finish is None else piece.finish.value
        return self.chunk(self._choice(piece.index, piece.text, self._logprobs(piece.tokens), finish))

    def _choice(self, index: int, text: str, logprobs: dict[str, Any] | None, finish: str | None) -> dict[str, Any]:
        return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}

    def _logprobs(self, tokens: Sequence[TextToken], chunk: int = 0) -> dict[str, Any] | None:
        if not self._request.has_logprobs:
            return None
        has_others = self._request.sampling.top_logprobs > 0
        return {
            "tokens": listed(tokens, lambda one: self.text_of(one.token.token_id), chunk),
            "token_logprobs": listed(tokens, lambda one: one.token.logprob, chunk),
            "top_logprobs": listed(tokens, self._likeliest, chunk) if has_others else None,
            "text_offset": listed(tokens, lambda one: one.offset, chunk),
        }

    def _likeliest(self, one: TextToken) -> dict[str, float]:
        found = token_texts(self._serving, (token_id for token_id, _ in one.token.alternatives))
        likeliest = {text: logprob for (text, _), (_, logprob) in zip(found, one.token.alternatives, strict=True)}
        return {**likeliest, self.text_of(one.token.token_id): one.token.logprob}


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
    """Return vectors [texts, width] in OpenAI's form; many of them as ``Chunks``."""

    def write(index: int) -> dict[str, Any]:
        row = vectors[index]
        written = base64.b64encode(row.astype("<f4").tobytes()).decode() if as_base64 else row.tolist()
        return {"object": "embedding", "index": index, "embedding": written}

    piece = PIECE_PACKED if as_base64 else PIECE_FLOATS
    chunk = max(1, piece // vectors.shape[1]) if is_large(vectors.size, piece) else 0
    data = listed(range(len(vectors)), write, chunk)
    usage = {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens}
    return {"object": "list", "data": data, "model": model, "usage": usage}
