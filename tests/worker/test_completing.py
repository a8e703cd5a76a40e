"""Answers in text, from what a model's rows say."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from echoplaned.core.facts import Task
from echoplaned.worker.completing import TURN_VALUES, AnswerPiece, Completer, CompletionOrder, Finish, seed_of
from echoplaned.worker.sequences import Outcome, RowFailure, Sampling, Token, TokenSequence
from echoplaned.worker.tracing import TraceOrigin, Tracer
from echoplaned.worker_contract.inference.errors import ModelFailedError
from tests.turning import counted_turns

WORDS = ["ab", "c", "", "d", "ef", "g"]


class Words:
    """A model whose tokens are words of a list; only what is asked of it by a completer."""

    task = Task.GENERATION

    def detokenize(self, token_ids: list[int]) -> str:
        """Put words together."""
        return "".join(WORDS[one] for one in token_ids)


class Marked(Words):
    """A model whose words have a space before them, but for the first of a text."""

    def detokenize(self, token_ids: list[int]) -> str:
        """Put words together."""
        return " ".join(WORDS[one] for one in token_ids)


class Script:
    """A batcher that says what it was told to, row by row, as soon as rows are submitted."""

    def __init__(self, *rows: list[Outcome]) -> None:
        self._rows = rows
        self.cancelled: set[int] = set()
        self._submitted: list[TokenSequence] = []

    def submit(self, sequences: list[TokenSequence]) -> None:
        """Say everything at once."""
        self._submitted = sequences
        for sequence, outcomes in zip(sequences, self._rows, strict=True):
            for outcome in outcomes:
                sequence.deliver(outcome)

    def cancel(self, sequences: Any) -> None:
        """Note what was given up."""
        self.cancelled |= {self._submitted.index(sequence) for sequence in sequences}


def tokens(*ids: int, stopped: bool = False) -> list[Outcome]:
    """Return a row's tokens; the last one ends it."""
    return [
        Token(one, -0.5, last=index == len(ids) - 1, stopped=stopped and index == len(ids) - 1)
        for index, one in enumerate(ids)
    ]


def run(script: Script, *stops: str) -> AsyncGenerator[list[AnswerPiece], None]:
    """Run as many rows as the script has."""
    model: Any = Words()
    batcher: Any = script
    count = len(script._rows)
    order = CompletionOrder(((1,),) * count, (Sampling(),) * count, stops, "p")
    return Completer(model, batcher, Tracer(lambda: 0.0)).run(order, TraceOrigin())


async def gather(script: Script, *stops: str) -> dict[int, tuple[str, int, Finish | None, str | None]]:
    """Return each answer's text, tokens, end and stop text."""
    found: dict[int, tuple[str, int, Finish | None, str | None]] = {}
    async for batch in run(script, *stops):
        for piece in batch:
            text, count, _, _ = found.get(piece.index, ("", 0, None, None))
            found[piece.index] = (text + piece.text, count + len(piece.tokens), piece.finish, piece.stop)
    return found


async def test_answers_end_by_length_by_the_models_sign_and_by_stop_texts() -> None:
    """The sign for the end is no part of the text; a stop text is cut off with the tokens that begin within it."""
    script = Script(tokens(0, 1, 3), tokens(0, 1, 5, stopped=True), tokens(0, 1, 3, 4, 5))
    assert await gather(script) == {
        0: ("abcd", 3, Finish.LENGTH, None),
        1: ("abc", 2, Finish.STOP, None),
        2: ("abcdefg", 5, Finish.LENGTH, None),
    }
    script = Script(tokens(0, 1, 3), tokens(0, 1, 5, stopped=True), tokens(0, 1, 3, 4, 5))
    assert await gather(script, "cde") == {
        0: ("abcd", 3, Finish.LENGTH, None),
        1: ("abc", 2, Finish.STOP, None),
        2: ("ab", 1, Finish.STOP, "cde"),
    }
    assert script.cancelled == {0, 1, 2}


@pytest.mark.parametrize(("goes_on", "text"), [(True, " ab d"), (False, "ab d")])
async def test_an_answer_goes_on_with_its_prompt_or_begins_a_text(goes_on: bool, text: str) -> None:
    """What follows a prompt begins with the space between them; a turn of a conversation begins with its first word."""
    model: Any = Marked()
    batcher: Any = Script(tokens(0, 3))
    order = CompletionOrder(((5, 1),), (Sampling(),), (), "p", goes_on=goes_on)
    batches = Completer(model, batcher, Tracer(lambda: 0.0)).run(order, TraceOrigin())
    assert "".join([piece.text async for batch in batches for piece in batch]) == text


async def test_tokens_have_the_place_of_their_text() -> None:
    """A token's offset is the length of the text before it, one without text included."""
    offsets = [one.offset async for batch in run(Script(tokens(0, 2, 1, 4))) for piece in batch for one in piece.tokens]
    assert offsets == [0, 2, 2, 3]


async def test_a_failure_ends_the_request() -> None:
    """The first row that fails raises, and every row is given up."""
    script = Script(tokens(0, 1), [RowFailure(ModelFailedError("no"))])
    with pytest.raises(ModelFailedError):
        await gather(script)
    assert script.cancelled == {0, 1}


async def test_who_stops_listening_gives_up_the_rows() -> None:
    """A generator that is closed cancels what it asked for."""
    script = Script([Token(0, -1.0, last=False)])
    listening = run(script)
    async for _ in listening:
        break
    await listening.aclose()
    assert script.cancelled == {0}


def test_seeds_of_several_answers() -> None:
    """The first answer has the request's seed, the others have their own; without one all are fresh."""
    seeds = [seed_of(7, index) for index in range(100)]
    assert seeds[0] == 7
    assert len(set(seeds)) == 100
    assert all(seed is not None and 0 <= seed < 2**63 for seed in seeds)
    assert seed_of(None, 3) is None


async def test_what_has_waited_comes_in_turns_of_the_loop() -> None:
    """Two thousand tokens that a slow reader finds waiting come some hundred at a time, and the loop turns between them."""
    script = Script(tokens(*[0] * 1000), tokens(*[1] * 1000))
    async with counted_turns() as turns:
        sizes = [sum(len(piece.tokens) for piece in batch) async for batch in run(script)]
    assert sum(sizes) == 2000
    assert max(sizes) <= TURN_VALUES
    assert turns.count >= len(sizes) - 1 >= 3


async def test_a_text_that_was_held_back_comes_in_pieces() -> None:
    """An answer that could have been a stop text to its end is shown some hundred tokens at a time, each with its own text."""
    ids = [0, 3, 1, 2] * 500
    text = "".join(WORDS[one] for one in ids)
    batches = [batch async for batch in run(Script(tokens(*ids), tokens(*ids)), text + "!")]
    assert max(sum(len(piece.tokens) for piece in batch) for batch in batches) <= TURN_VALUES
    for index in range(2):
        pieces = [piece for batch in batches for piece in batch if piece.index == index]
        shown = [piece for piece in pieces if piece.tokens]
        assert "".join(piece.text for piece in pieces) == text
        assert [one.token.token_id for piece in shown for one in piece.tokens] == ids
        begins = [sum(len(before.text) for before in shown[:at]) for at in range(len(shown))]
        assert [piece.tokens[0].offset for piece in shown] == begins
        assert [piece.finish for piece in pieces if piece.finish] == [Finish.LENGTH]
        assert pieces[-1].finish is Finish.LENGTH
