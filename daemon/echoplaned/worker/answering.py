"""One request from tokens to answer: tokenise, queue, gather. A caller that goes away takes its work with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from echoplaned.core.facts import Task
from echoplaned.worker.batching import Batcher
from echoplaned.worker.errors import InvalidInputError
from echoplaned.worker.ports import ServedModel
from echoplaned.worker.requests import InferOrder
from echoplaned.worker.sequences import Failure, Outcome, Sampling, Sequence, Token, Vector
from echoplaned.worker.tensors import Tensor
from echoplaned.worker.tokenizing import check_lengths, check_text_lengths, check_vocabulary

_INLINE_CHARACTERS: Final = (
    4096  # about a millisecond of tokenising; more goes to a thread, so that the loop stays free
)
_DEFAULT_MAX_TOKENS: Final = 64
_NO_TOKEN: Final = -1  # fills the rows of token_ids that ended earlier
_REPLACEMENT: Final = "\ufffd"  # what an unfinished character decodes to


@dataclass(frozen=True, slots=True)
class Piece:
    """One streamed token with the text that it completed."""

    token: Token
    text: str


class Answerer:
    """Runs requests on a model through its batcher."""

    def __init__(self, model: ServedModel, batcher: Batcher) -> None:
        self._model = model
        self._batcher = batcher

    async def vectors(self, order: InferOrder, output: str) -> dict[str, Tensor]:
        """Return an encoder's answer, FP32 [rows, width].

        Raises:
            CallError: the request is too long, the queue is full, or the model failed.
        """
        outcomes = await self._gather(order)
        return {output: np.stack([row[0].values for row in outcomes if isinstance(row[0], Vector)])}

    async def generation(self, order: InferOrder) -> dict[str, Tensor]:
        """Return the text of every row, its token ids (filled up with -1) and their log-probabilities (filled up with 0).

        Raises:
            CallError: the request is too long, the queue is full, or the model failed.
        """
        outcomes = await self._gather(order)
        tokens = [[token for token in row if isinstance(token, Token)] for row in outcomes]
        longest = max(len(row) for row in tokens)
        ids = np.full((len(tokens), longest), _NO_TOKEN, dtype=np.int64)
        logprobs = np.zeros((len(tokens), longest), dtype=np.float32)
        for index, row in enumerate(tokens):
            ids[index, : len(row)] = [token.token_id for token in row]
            logprobs[index, : len(row)] = [token.logprob for token in row]
        texts = [self._model.detokenize([token.token_id for token in row]).encode() for row in tokens]
        return {"text": texts, "token_ids": ids, "logprobs": logprobs}

    async def stream(self, order: InferOrder) -> AsyncGenerator[Piece, None]:
        """Yield the tokens of a single sequence as they come.

        Raises:
            CallError: as for ``generation``; also where the request has more than one sequence.
        """
        if order.size != 1:
            raise InvalidInputError(f"a streamed generation takes one sequence a request, not {order.size}")
        queue: asyncio.Queue[Outcome] = asyncio.Queue()
        rows = await self._rows(order)
        sequence = Sequence(rows[0], self._sampling(order.sampling, rows[0]), queue.put_nowait)
        self._batcher.submit([sequence])
        ids: list[int] = []
        told = 0
        try:
            while True:
                token = _token(await queue.get())
                ids.append(token.token_id)
                text = self._model.detokenize(ids)
                whole = text if token.last or not text.endswith(_REPLACEMENT) else text.rstrip(_REPLACEMENT)
                yield Piece(token, whole[told:])
                told = max(told, len(whole))
                if token.last:
                    return
        finally:
            self._batcher.cancel([sequence])

    async def _gather(self, order: InferOrder) -> list[list[Outcome]]:
        """Run every row to its end and return what came, by row."""
        rows = await self._rows(order)
        collector = _Collector(len(rows))
        sequences = [
            Sequence(row, self._sampling(order.sampling, row), collector.listener(index))
            for index, row in enumerate(rows)
        ]
        self._batcher.submit(sequences)
        try:
            return await collector.result
        finally:
            if not collector.complete:
                self._batcher.cancel(sequences)

    async def _rows(self, order: InferOrder) -> list[list[int]]:
        """Return the token ids of each sequence, within the limits."""
        options = self._model.options
        if order.texts:
            texts = list(order.texts)
            check_text_lengths(texts, options.context_length)
            if sum(map(len, texts)) <= _INLINE_CHARACTERS:
                rows = self._model.tokenize(texts)
            else:
                rows = await asyncio.to_thread(self._model.tokenize, texts)
        else:
            rows = [list(row) for row in order.rows]
            check_vocabulary(rows, self._model.vocabulary_size)
        check_lengths(rows, options.context_length)
        return rows

    def _sampling(self, sampling: Sampling, row: list[int]) -> Sampling:
        """Settle how many tokens a row may get; an explicit wish that does not fit is refused. Encoders produce none.

        Raises:
            InvalidInputError: prompt and ``max_tokens`` together exceed the context.
        """
        if self._model.options.task is not Task.GENERATION:
            return sampling
        context_length = self._model.options.context_length
        room = context_length - len(row)
        if sampling.max_tokens > room or (sampling.max_tokens == 0 and room == 0):
            wanted = sampling.max_tokens or 1
            raise InvalidInputError(
                f"a prompt of {len(row)} tokens and max_tokens {wanted} exceed this version's context_length of {context_length} tokens"
            )
        return replace(sampling, max_tokens=sampling.max_tokens or min(room, _DEFAULT_MAX_TOKENS))


class _Collector:
    """Gathers the outcomes of a request's rows; the first failure ends it."""

    def __init__(self, rows: int) -> None:
        self.result: asyncio.Future[list[list[Outcome]]] = asyncio.get_running_loop().create_future()
        self._outcomes: list[list[Outcome]] = [[] for _ in range(rows)]
        self._left = rows

    @property
    def complete(self) -> bool:
        """Whether every row has its answer."""
        return self._left == 0

    def listener(self, index: int) -> _Listener:
        """Return what takes the outcomes of one row."""
        return _Listener(self, index)

    def take(self, index: int, outcome: Outcome) -> None:
        """Keep an outcome; wake the request after its last one."""
        if self.result.done():
            return
        if isinstance(outcome, Failure):
            self.result.set_exception(outcome.error)
            return
        self._outcomes[index].append(outcome)
        if not isinstance(outcome, Token) or outcome.last:
            self._left -= 1
            if self._left == 0:
                self.result.set_result(self._outcomes)


class _Listener:
    """One row's ear."""

    __slots__ = ("_collector", "_index")

    def __init__(self, collector: _Collector, index: int) -> None:
        self._collector = collector
        self._index = index

    def __call__(self, outcome: Outcome) -> None:
        self._collector.take(self._index, outcome)


def _token(outcome: Outcome) -> Token:
    """Return a token, or raise the failure that came instead."""
    if isinstance(outcome, Failure):
        raise outcome.error
    if isinstance(outcome, Token):
        return outcome
    raise TypeError("a generation answered with a vector")
