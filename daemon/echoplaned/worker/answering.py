"""Runs one request from tokens to answer: tokenise, queue, gather.

A caller that goes away takes its work with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from echoplaned.core.facts import Task
from echoplaned.worker.batching import Batcher
from echoplaned.worker.chat_template import NO_TEMPLATE, Message
from echoplaned.worker.growing_text import Detokenizer
from echoplaned.worker.loop_turns import LoopTurns
from echoplaned.worker.ports import ServedModel
from echoplaned.worker.sequences import (
    Listener,
    Outcome,
    RowFailure,
    Sampling,
    Scored,
    Scoring,
    Token,
    TokenSequence,
    Vector,
)
from echoplaned.worker.tokenizing import check_vocabulary
from echoplaned.worker.tracing import Tap, TraceOrigin, Tracer
from echoplaned.worker_contract.inference.errors import ContextExceededError, FieldError, InvalidInputError
from echoplaned.worker_contract.inference.lengths import check_length, check_text_lengths
from echoplaned.worker_contract.inference.preparing import ELEMENT_BYTES, INLINE_ELEMENTS, Preparer
from echoplaned.worker_contract.inference.requests import DISTRIBUTIONS, CheckedRequest, InferOrder
from echoplaned.worker_contract.inference.tensors import Tensor

_DEFAULT_MAX_TOKENS: Final = 64
_NO_TOKEN: Final = -1  # fills the rows of token_ids that ended earlier

DISTRIBUTION_BYTES: Final = 16 * 1024 * 1024
"""Whole distributions of one answer at most; larger ones are left out of it. A client takes 4 MiB unless it says otherwise."""


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Piece:
    """One streamed token with the text that it completed.

    Attributes:
        token: generated token.
        text: text that the token completed; empty while a character is still incomplete.
    """

    token: Token
    text: str


class Answerer:
    """Runs requests on a model through its batcher.

    The first sequence of a request is traced, if the request is to be traced.
    """

    def __init__(self, model: ServedModel, batcher: Batcher, tracer: Tracer) -> None:
        self._model = model
        self._batcher = batcher
        self._tracer = tracer
        self._preparer = Preparer()
        self._parser = Preparer(threads=1)  # of JSON, which is Python's alone
        self._turns = LoopTurns()

    async def read(self, checked: CheckedRequest, peer: str) -> InferOrder:
        """Read the values of a request that came on a connection.

        Many of them are read beside the event loop, in a thread of the preparer.

        Raises:
            CallError: one of them is not accepted, or too much is being read already.
        """
        if checked.elements <= INLINE_ELEMENTS:
            order = checked.read()
        else:
            order = await self._preparer.run(checked.read, ELEMENT_BYTES * checked.elements, peer)
        return replace(order, peer=peer)

    async def vectors(self, order: InferOrder, output: str, origin: TraceOrigin) -> dict[str, Tensor]:
        """Return an encoder's answer, FP32 [rows, width].

        Raises:
            CallError: the request is too long, the queue is full, or the model failed.
        """
        outcomes = await self._gather(order, await self.token_rows(order), origin)
        return {output: np.stack([row[0].values for row in outcomes if isinstance(row[0], Vector)])}

    async def generation(self, order: InferOrder, origin: TraceOrigin) -> dict[str, Tensor]:
        """Return the text of every row, its token ids and their log-probabilities.

        Shorter rows are filled up: token ids with -1, log-probabilities with 0.

        Raises:
            CallError: the request is too long, the queue is full, or the model failed.
        """
        outcomes = await self._gather(order, await self.token_rows(order), origin)
        tokens = [[token for token in row if isinstance(token, Token)] for row in outcomes]
        ids = [[token.token_id for token in row] for row in tokens]
        texts = [self._model.detokenize(row).encode() for row in ids]
        logprobs = [np.array([token.logprob for token in row], dtype=np.float32) for row in tokens]
        return {"text": texts, **_token_tensors(ids, logprobs)}

    async def scores(self, order: InferOrder) -> dict[str, Tensor]:
        """Return every row's tokens but the first, and their log-probabilities.

        The whole distributions are added where they are asked for and not too large.

        Raises:
            CallError: a row is too long or has but one token, the queue is full, or the model failed.
        """
        rows = await self.token_rows(order)
        if min(map(len, rows)) == 1:
            raise InvalidInputError(
                "a sequence of one token has nothing to score: each is scored given those before it"
            )
        order = replace(order, scoring=self._affordable(order.scoring or Scoring(), rows))
        outcomes = await self._gather(order, rows)
        scored = [row[0] for row in outcomes if isinstance(row[0], Scored)]
        tensors = _token_tensors([row[1:] for row in rows], [row.logprobs for row in scored])
        whole = [row.distributions for row in scored if row.distributions is not None]
        if whole:
            filled = np.zeros((len(whole), max(map(len, whole)), whole[0].shape[1]), dtype=whole[0].dtype)
            for index, row_distributions in enumerate(whole):
                filled[index, : len(row_distributions)] = row_distributions
            tensors[DISTRIBUTIONS] = filled
        return tensors

    async def stream(self, order: InferOrder, origin: TraceOrigin) -> AsyncGenerator[Piece, None]:
        """Yield the tokens of a single sequence as they come.

        Raises:
            CallError: as for ``generation``; also where the request has more than one sequence.
        """
        if order.size != 1:
            raise InvalidInputError(f"a streamed generation takes one sequence a request, not {order.size}")
        queue: asyncio.Queue[Outcome] = asyncio.Queue()
        rows = await self.token_rows(order)
        tap = self._tap(order, rows[0], origin, queue.put_nowait)
        sequence = TokenSequence(
            rows[0],
            self.settle(order.sampling, rows[0]),
            tap or queue.put_nowait,
            traced=tap is not None,
            peer=order.peer,
        )
        self._batcher.submit([sequence])
        text = Detokenizer(self._model.detokenize)
        try:
            while True:
                token = _token(await queue.get())
                yield Piece(token, text.push(token.token_id, last=token.last))
                if token.last:
                    return
        finally:
            self._batcher.cancel([sequence])
            if tap is not None:
                tap.leave()

    async def _gather(
        self, order: InferOrder, rows: list[list[int]], origin: TraceOrigin | None = None
    ) -> list[list[Outcome]]:
        """Run every row to its end and return what came, by row."""
        collector = _Collector(len(rows))
        tap = self._tap(order, rows[0], origin, collector.listener(0))
        sequences = [
            TokenSequence(
                row,
                self.settle(order.sampling, row) if order.scoring is None else order.sampling,
                tap if tap is not None and index == 0 else collector.listener(index),
                scoring=order.scoring,
                traced=tap is not None and index == 0,
                as_int8=order.as_int8,
                peer=order.peer,
            )
            for index, row in enumerate(rows)
        ]
        self._batcher.submit(sequences)
        try:
            return await collector.result
        finally:
            if not collector.complete:
                self._batcher.cancel(sequences)
                if tap is not None:
                    tap.leave()

    def _tap(self, order: InferOrder, row: list[int], origin: TraceOrigin | None, listener: Listener) -> Tap | None:
        """Return what traces a request's first row; None where it is not to be traced."""
        if origin is None or not self._tracer.wants():
            return None
        sampling = order.sampling if self._model.options.task is Task.GENERATION else None
        return self._tracer.tap(origin, row, sampling, listener)

    def _affordable(self, scoring: Scoring, rows: list[list[int]]) -> Scoring:
        """Leave the distributions out where an answer would be too large with them."""
        if scoring.distributions is None:
            return scoring
        cells = len(rows) * (max(map(len, rows)) - 1) * self._model.vocabulary_size
        return scoring if cells * np.dtype(scoring.distributions).itemsize <= DISTRIBUTION_BYTES else Scoring()

    async def parse(self, work: Callable[[], T], size_bytes: int, peer: str) -> T:
        """Parse and read a request's body in a thread, beside the event loop.

        One at a time, as connections take turns. Returns and raises as ``Preparer.run``.
        """
        return await self._parser.run(work, size_bytes, peer)

    async def chat_row(self, messages: Sequence[Message], peer: str) -> list[int]:
        """Return the token ids of a conversation, by the checkpoint's template.

        Raises:
            CallError: there is no template, it refuses the messages, or they are too long.
        """
        model = self._model
        if not model.has_chat:
            raise FieldError("messages", NO_TEMPLATE)
        cost = model.tokenizer_cost
        check_text_lengths([text for one in messages for text in one.values()], model.options.context_length, cost.work)

        def work() -> list[int]:
            text = model.render_chat(messages)
            check_text_lengths([text], model.options.context_length, cost.work)
            return model.tokenize_chat(text)

        characters = sum(len(text) for one in messages for text in one.values())
        return await self._preparer.run(work, ELEMENT_BYTES * max(1, cost.growth * characters), peer)

    async def token_rows(self, order: InferOrder) -> list[list[int]]:
        """Return the token ids of each sequence, within the limits.

        Raises:
            CallError: a text or a row is too long, or has an id that the model does not know.
        """
        options = self._model.options
        if order.as_int8 and self._model.why_no_int8:
            raise InvalidInputError(f"the model cannot answer as in INT8: {self._model.why_no_int8}")
        cost = self._model.tokenizer_cost
        check_text_lengths(order.texts, options.context_length, cost.work)
        elements = cost.growth * sum(map(len, order.texts)) + sum(map(len, order.rows))
        if elements * cost.reach <= INLINE_ELEMENTS and (cost.is_linear or not order.texts):
            return await self._turns.run(partial(self._token_rows, order), order.peer)
        return await self._preparer.run(partial(self._token_rows, order), ELEMENT_BYTES * elements, order.peer)

    def _token_rows(self, order: InferOrder) -> list[list[int]]:
        """Return the token ids of each sequence of a request.

        Runs on the loop, or in a thread of the preparer.
        """
        context_length = self._model.options.context_length
        if order.texts:
            return self._model.tokenize(list(order.texts), truncate=order.truncate)
        rows = [list(row[:context_length] if order.truncate else row) for row in order.rows]
        for index, row in enumerate(rows):
            check_length(index, len(row), context_length)
        check_vocabulary(rows, self._model.vocabulary_size)
        return rows

    def settle(self, sampling: Sampling, row: list[int], default_tokens: int = _DEFAULT_MAX_TOKENS) -> Sampling:
        """Settle how many tokens a row may get.

        An explicit ``max_tokens`` that does not fit is refused. Encoders produce no tokens, so theirs is left as it is.

        Raises:
            ContextExceededError: prompt and ``max_tokens`` together exceed the context.
        """
        if self._model.options.task is not Task.GENERATION:
            return sampling
        context_length = self._model.options.context_length
        room = context_length - len(row)
        if sampling.max_tokens > room or (sampling.max_tokens == 0 and room == 0):
            wanted = sampling.max_tokens or 1
            raise ContextExceededError(
                f"a prompt of {len(row)} tokens and max_tokens {wanted} exceed this version's context_length of {context_length} tokens"
            )
        return replace(sampling, max_tokens=sampling.max_tokens or min(room, default_tokens))


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
        if isinstance(outcome, RowFailure):
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


def _token_tensors(ids: list[list[int]], logprobs: list[npt.NDArray[np.float32]]) -> dict[str, Tensor]:
    """Return rows of token ids and of log-probabilities as two rectangular tensors.

    Short rows are filled up: ids with -1, log-probabilities with 0.
    """
    shape = (len(ids), max(map(len, ids)))
    all_ids, all_logprobs = np.full(shape, _NO_TOKEN, dtype=np.int64), np.zeros(shape, dtype=np.float32)
    for index, (row, values) in enumerate(zip(ids, logprobs, strict=True)):
        all_ids[index, : len(row)] = row
        all_logprobs[index, : len(row)] = values
    return {"token_ids": all_ids, "logprobs": all_logprobs}


def _token(outcome: Outcome) -> Token:
    """Return a token, or raise the failure that came instead."""
    if isinstance(outcome, RowFailure):
        raise outcome.error
    if isinstance(outcome, Token):
        return outcome
    raise TypeError("a generation answered with a vector")
