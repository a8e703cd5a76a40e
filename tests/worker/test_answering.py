"""Requests through a batcher: what a stream of tokens costs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from echoplaned.core.facts import Task
from echoplaned.worker.answering import Answerer
from echoplaned.worker.growing_text import MAX_UNFINISHED
from echoplaned.worker.sequences import Sampling, Token, TokenSequence
from echoplaned.worker.tokenizer_cost import TokenizerCost
from echoplaned.worker.tracing import TraceOrigin, Tracer
from echoplaned.worker_contract.inference.requests import InferOrder

LENGTH = 500


class Letters:
    """A model whose tokens are letters; it notes how many tokens are decoded at a time."""

    options = SimpleNamespace(task=Task.GENERATION, context_length=4096)
    tokenizer_cost = TokenizerCost()
    vocabulary_size = 26

    def __init__(self) -> None:
        self.decoded: list[int] = []

    def detokenize(self, token_ids: list[int]) -> str:
        """Put letters together."""
        self.decoded.append(len(token_ids))
        return "".join(chr(ord("a") + one) for one in token_ids)


class Alphabet:
    """A batcher that answers every sequence with the alphabet, over and over."""

    def submit(self, sequences: list[TokenSequence]) -> None:
        """Say all tokens at once."""
        for sequence in sequences:
            for number in range(LENGTH):
                sequence.deliver(Token(number % 26, -0.5, last=number == LENGTH - 1, stopped=False))

    def cancel(self, sequences: list[TokenSequence]) -> None:
        """Nothing is left to give up."""


async def test_a_token_of_a_stream_costs_no_more_the_longer_it_goes_on() -> None:
    """A few tokens are decoded for each that comes, on the loop that others wait for, and the pieces add up."""
    model: Any = Letters()
    batcher: Any = Alphabet()
    answerer = Answerer(model, batcher, Tracer(lambda: 0.0))
    order = InferOrder((), ((1, 2, 3),), Sampling(max_tokens=LENGTH), ("text",), raw=False)
    pieces = [piece.text async for piece in answerer.stream(order, TraceOrigin())]
    assert "".join(pieces) == "".join(chr(ord("a") + number % 26) for number in range(LENGTH))
    assert max(model.decoded) <= MAX_UNFINISHED
