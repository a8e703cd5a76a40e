"""Generates several answers side by side and yields their text as it grows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Final

from echoplaned.worker.batching import Batcher
from echoplaned.worker.growing_text import Detokenizer, StopTexts
from echoplaned.worker.ports import ServedModel
from echoplaned.worker.sequences import Outcome, RowFailure, Sampling, Token, TokenSequence
from echoplaned.worker.tracing import Tap, TraceOrigin, Tracer

_SEED_STEP: Final = 0x9E3779B97F4A7C15  # odd, so that no two answers of a request draw from one seed
_SEED_MASK: Final = 2**63 - 1


class Finish(StrEnum):
    """Why an answer ended."""

    STOP = "stop"
    """The model's own sign for the end, or a stop text."""
    LENGTH = "length"
    """As many tokens as were allowed."""


@dataclass(frozen=True, slots=True)
class CompletionOrder:
    """Answers that are wanted, one a row.

    Attributes:
        rows: the prompts' token ids, one for each answer.
        samplings: how each is generated, with ``max_tokens`` settled.
        stops: texts that end an answer, and are not part of it.
        peer: the connection that the request came on.
    """

    rows: tuple[tuple[int, ...], ...]
    samplings: tuple[Sampling, ...]
    stops: tuple[str, ...]
    peer: str


@dataclass(frozen=True, slots=True)
class TextToken:
    """A token of an answer.

    Attributes:
        token: as the model gave it.
        offset: characters of the answer before its own.
    """

    token: Token
    offset: int


@dataclass(frozen=True, slots=True)
class AnswerPiece:
    """What one answer has grown by.

    Attributes:
        index: which answer.
        text: what may be shown now.
        tokens: those whose text this is; the model's sign for the end and what follows a stop text are left out.
        token_count: tokens generated so far, all of them.
        finish: why the answer ends here; None: it goes on.
        stop: the stop text that ended it; None: none did.
    """

    index: int
    text: str
    tokens: tuple[TextToken, ...]
    token_count: int
    finish: Finish | None = None
    stop: str | None = None


class Completer:
    """Runs generations on a model through its batcher, as text.

    Args:
        model: what generates.
        batcher: the queue before it.
        tracer: takes what the first answer of a request said.
    """

    def __init__(self, model: ServedModel, batcher: Batcher, tracer: Tracer) -> None:
        self._model = model
        self._batcher = batcher
        self._tracer = tracer

    async def run(self, order: CompletionOrder, origin: TraceOrigin) -> AsyncGenerator[list[AnswerPiece], None]:
        """Yield what the answers have grown by, until the last one has ended.

        A caller that closes the generator takes its rows out of the queue and out of their batch.

        Raises:
            CallError: the queue is full, or the model failed.
        """
        queue: asyncio.Queue[tuple[int, Outcome]] = asyncio.Queue()
        answers = [_Answer(index, self._model, order.stops) for index in range(len(order.rows))]
        sequences, tap = self._sequences(order, origin, queue)
        self._batcher.submit(sequences)
        try:
            left = len(answers)
            while left:
                taken = [answers[index].take(outcome) for index, outcome in await _newest(queue)]
                pieces = [piece for piece in taken if piece is not None]
                ended = [piece for piece in pieces if piece.finish is not None]
                self._batcher.cancel(sequences[piece.index] for piece in ended)
                left -= len(ended)
                if pieces:
                    yield pieces
        finally:
            self._batcher.cancel(sequences)
            if tap is not None:
                tap.leave()

    def _sequences(
        self, order: CompletionOrder, origin: TraceOrigin, queue: asyncio.Queue[tuple[int, Outcome]]
    ) -> tuple[list[TokenSequence], Tap | None]:
        sequences: list[TokenSequence] = []
        first: Tap | None = None
        for index, (row, sampling) in enumerate(zip(order.rows, order.samplings, strict=True)):
            listener = partial(_put, queue, index)
            ids = list(row)
            tap = self._tracer.tap(origin, ids, sampling, listener) if not index and self._tracer.wants() else None
            first = first or tap
            sequences.append(TokenSequence(ids, sampling, tap or listener, traced=tap is not None, peer=order.peer))
        return sequences, first


def seed_of(seed: int | None, index: int) -> int | None:
    """Return the seed of one of a request's answers; None for a fresh one.

    The first answer has the request's own seed, each other one a seed of its own.
    """
    return seed if seed is None or index == 0 else (seed + index * _SEED_STEP) & _SEED_MASK


def _put(queue: asyncio.Queue[tuple[int, Outcome]], index: int, outcome: Outcome) -> None:
    queue.put_nowait((index, outcome))


async def _newest(queue: asyncio.Queue[tuple[int, Outcome]]) -> Iterable[tuple[int, Outcome]]:
    """Return what has come, at least one."""
    found = [await queue.get()]
    while not queue.empty():
        found.append(queue.get_nowait())
    return found


class _Answer:
    """One answer as it grows."""

    def __init__(self, index: int, model: ServedModel, stops: tuple[str, ...]) -> None:
        self._index = index
        self._text = Detokenizer(model.detokenize)
        self._stops = StopTexts(stops)
        # Tokens whose text was not shown yet, with the characters before each.
        self._waiting: list[TextToken] = []
        self._decoded = 0
        self._shown = 0
        self._count = 0
        self._ended = False

    def take(self, outcome: Outcome) -> AnswerPiece | None:
        """Take a row's outcome and return what the answer grew by.

        None: the answer had ended already, while a step was still under way.

        Raises:
            CallError: the outcome is a failure.
        """
        if isinstance(outcome, RowFailure):
            raise outcome.error
        if not isinstance(outcome, Token):
            raise TypeError("a generation answered with something else than tokens")
        if self._ended:
            return None
        self._count += 1
        if outcome.stopped:
            text = self._text.finish()
        else:
            self._waiting.append(TextToken(outcome, self._decoded))
            text = self._text.push(outcome.token_id, last=outcome.last)
        self._decoded += len(text)
        growth = self._stops.push(text, last=outcome.last)
        self._shown += len(growth.text)
        self._ended = outcome.last or growth.stop is not None
        finish = None
        if self._ended:
            finish = Finish.STOP if outcome.stopped or growth.stop is not None else Finish.LENGTH
        return AnswerPiece(self._index, growth.text, self._shown_tokens(growth.stop), self._count, finish, growth.stop)

    def _shown_tokens(self, stop: str | None) -> tuple[TextToken, ...]:
        """Return the tokens whose text is shown now, and drop them.

        At the end of an answer without a stop text, tokens without text go as well.
        """
        everything = self._ended and stop is None
        shown = [one for one in self._waiting if everything or one.offset < self._shown]
        self._waiting = self._waiting[len(shown) :]
        return tuple(shown)
