"""Generates several answers side by side and yields their text as it grows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator
from dataclasses import dataclass, replace
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
TURN_VALUES: Final = 512
"""Tokens, each alternative counted as one, that are taken in one turn of the loop: some milliseconds, with writing them."""


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
        goes_on: whether the answers go on with their prompts' texts; else each begins a text of its own.
    """

    rows: tuple[tuple[int, ...], ...]
    samplings: tuple[Sampling, ...]
    stops: tuple[str, ...]
    peer: str
    goes_on: bool = False


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
        prompts = order.rows if order.goes_on else ((),) * len(order.rows)
        answers = [_Answer(index, self._model, order.stops, prompt) for index, prompt in enumerate(prompts)]
        sequences, tap = self._sequences(order, origin, queue)
        self._batcher.submit(sequences)
        most = max(1, TURN_VALUES // (1 + max(one.top_logprobs for one in order.samplings)))
        try:
            left = len(answers)
            while left:
                newest = await _newest(queue, most)
                pieces = [piece for index, outcome in newest for piece in answers[index].take(outcome, most)]
                ended = [piece for piece in pieces if piece.finish is not None]
                self._batcher.cancel(sequences[piece.index] for piece in ended)
                left -= len(ended)
                # Much comes at once for a caller who read nothing for a while, or whose text was held back: the loop turns meanwhile.
                for index, turn in enumerate(_turns(pieces, most)):
                    if index:
                        await asyncio.sleep(0)
                    yield turn
                if not queue.empty():
                    await asyncio.sleep(0)
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


async def _newest(queue: asyncio.Queue[tuple[int, Outcome]], most: int) -> Iterable[tuple[int, Outcome]]:
    """Return what has come: one at least, and at most ``most``."""
    found = [await queue.get()]
    while len(found) < most and not queue.empty():
        found.append(queue.get_nowait())
    return found


def _turns(pieces: list[AnswerPiece], most: int) -> Iterator[list[AnswerPiece]]:
    """Yield pieces, with so many tokens at most in each turn of the loop."""
    turn: list[AnswerPiece] = []
    room = most
    for piece in pieces:
        if turn and len(piece.tokens) > room:
            yield turn
            turn, room = [], most
        turn.append(piece)
        room -= len(piece.tokens)
    if turn:
        yield turn


class _Answer:
    """One answer as it grows."""

    def __init__(self, index: int, model: ServedModel, stops: tuple[str, ...], before: tuple[int, ...]) -> None:
        self._index = index
        self._text = Detokenizer(model.detokenize, before)
        self._stops = StopTexts(stops)
        # Tokens whose text was not shown yet, with the characters before each.
        self._waiting: list[TextToken] = []
        self._decoded = 0
        self._shown = 0
        self._count = 0
        self._ended = False

    def take(self, outcome: Outcome, most: int) -> list[AnswerPiece]:
        """Take a row's outcome and return what the answer grew by.

        ``most``: tokens of one piece. Nothing is returned where the answer had ended already, while a step was still under way.

        Raises:
            CallError: the outcome is a failure.
        """
        if isinstance(outcome, RowFailure):
            raise outcome.error
        if not isinstance(outcome, Token):
            raise TypeError("a generation answered with something else than tokens")
        if self._ended:
            return []
        self._count += 1
        if outcome.stopped:
            text = self._text.finish()
        else:
            self._waiting.append(TextToken(outcome, self._decoded))
            text = self._text.push(outcome.token_id, last=outcome.last)
        self._decoded += len(text)
        growth = self._stops.push(text, last=outcome.last)
        begin = self._shown
        self._shown += len(growth.text)
        self._ended = outcome.last or growth.stop is not None
        finish = None
        if self._ended:
            finish = Finish.STOP if outcome.stopped or growth.stop is not None else Finish.LENGTH
        tokens = self._shown_tokens(growth.stop)
        piece = AnswerPiece(self._index, growth.text, tokens, self._count, finish, growth.stop)
        return [piece] if len(tokens) <= most else list(_split(piece, begin, most))

    def _shown_tokens(self, stop: str | None) -> tuple[TextToken, ...]:
        """Return the tokens whose text is shown now, and drop them.

        At the end of an answer without a stop text, tokens without text go as well.
        """
        everything = self._ended and stop is None
        shown = [one for one in self._waiting if everything or one.offset < self._shown]
        self._waiting = self._waiting[len(shown) :]
        return tuple(shown)


def _split(piece: AnswerPiece, begin: int, most: int) -> Iterator[AnswerPiece]:
    """Yield a piece in several of so many tokens, each with the text of its own.

    Args:
        piece: what an answer has grown by.
        begin: characters of the answer before it.
        most: tokens of one piece.
    """
    tokens, told = piece.tokens, 0
    for at in range(0, len(tokens), most):
        is_last = at + most >= len(tokens)
        end = len(piece.text) if is_last else max(told, tokens[at + most].offset - begin)
        part = replace(piece, text=piece.text[told:end], tokens=tokens[at : at + most])
        yield part if is_last else replace(part, finish=None, stop=None)
        told = end
