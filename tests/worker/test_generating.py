"""Rows of one cohort: what one of them asks for, or breaks, is nothing to the others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from echoplaned.core.facts import Dtype, Task
from echoplaned.core.ids import InstanceKey
from echoplaned.worker.batching import Batcher, Run
from echoplaned.worker.generating import GenerationRun, penalise, sample
from echoplaned.worker.loading import LoadedModel, load_model
from echoplaned.worker.options import LoadOptions
from echoplaned.worker.sequences import Outcome, RowFailure, Sampling, Token, TokenSequence
from echoplaned.worker_contract.inference.errors import ModelFailedError
from tests.models import Checkpoints

pytestmark = pytest.mark.system

WAIT_S = 60
PROMPTS = ([5, 6, 7, 8], [9, 10], [11, 12, 13])
SAMPLINGS = (Sampling(max_tokens=6), Sampling(max_tokens=6, temperature=0.8, seed=3), Sampling(max_tokens=4, top_k=2))


@pytest.fixture(scope="module")
def loaded(checkpoints: Checkpoints) -> LoadedModel:
    """The small decoder, in this process."""
    torch.set_num_threads(1)
    instance = InstanceKey.parse("m/v#0")
    return load_model(LoadOptions(instance, 1, checkpoints.decoder, Task.GENERATION, Dtype.FP32, 64, 4))


@pytest.fixture
def failures(loaded: LoadedModel) -> Iterator[dict[str, int]]:
    """Make the model fail for every batch of more than one row after ``fails_from`` steps."""
    state = {"steps": 0, "fails_from": 10**6}

    def look(_: Any, __: Any, arguments: dict[str, torch.Tensor]) -> None:
        state["steps"] += 1
        if len(arguments["input_ids"]) > 1 and state["steps"] > state["fails_from"]:
            raise RuntimeError("no memory for a batch")

    hook = loaded.model.register_forward_pre_hook(look, with_kwargs=True)
    yield state
    hook.remove()


async def generate(loaded: LoadedModel, prompts: tuple[list[int], ...] = PROMPTS) -> list[list[Outcome]]:
    """Run prompts in one batch and return what came for each."""
    told: list[list[Outcome]] = [[] for _ in prompts]
    ended = asyncio.Event()

    def start(rows: list[TokenSequence]) -> Run:
        return GenerationRun(loaded, rows)

    def listener(row: int) -> Any:
        def listen(outcome: Outcome) -> None:
            told[row].append(outcome)
            if all(one and (not isinstance(one[-1], Token) or one[-1].last) for one in told):
                ended.set()

        return listen

    batcher = Batcher(start, slots=4, queue_limit=8, on_death=ended.set)
    rows = [
        TokenSequence(list(ids), how, listener(at))
        for at, (ids, how) in enumerate(zip(prompts, SAMPLINGS, strict=True))
    ]
    batcher.submit(rows)
    batcher.start()
    async with asyncio.timeout(WAIT_S):
        await ended.wait()
    batcher.close(WAIT_S)
    return told


def token_ids(told: list[list[Outcome]]) -> list[list[int]]:
    """Return the tokens of each row."""
    return [[one.token_id for one in row if isinstance(one, Token)] for row in told]


@pytest.mark.parametrize("fails_from", [0, 1, 3])
async def test_a_batch_that_fails_is_finished_row_by_row(
    loaded: LoadedModel, failures: dict[str, int], fails_from: int
) -> None:
    """Whenever it fails, every row gets the tokens that it would have had, drawn ones included, each once."""
    expected = await generate(loaded)
    failures.update(steps=0, fails_from=fails_from)
    found = await generate(loaded)
    assert token_ids(found) == token_ids(expected)
    for row, wanted in zip(found, expected, strict=True):
        logprobs = [one.logprob for one in row if isinstance(one, Token)]
        assert logprobs == pytest.approx([one.logprob for one in wanted if isinstance(one, Token)], abs=1e-4)


async def test_a_row_that_breaks_every_batch_fails_alone(loaded: LoadedModel) -> None:
    """A token that the model has no embedding for fails its own row, and the others end as without it."""
    expected = token_ids(await generate(loaded))
    found = await generate(loaded, (PROMPTS[0], [*PROMPTS[1], loaded.vocabulary_size], PROMPTS[2]))
    (failure,) = found[1]
    assert isinstance(failure, RowFailure)
    assert isinstance(failure.error, ModelFailedError)
    assert [token_ids(found)[row] for row in (0, 2)] == [expected[row] for row in (0, 2)]


@pytest.mark.parametrize("temperature", [1e-6, 100.0])
@pytest.mark.parametrize("scale", [1.0, 1e30])
def test_no_temperature_makes_nan(temperature: float, scale: float) -> None:
    """Whatever logits are divided by, there is a token to draw; at a low temperature it is the likeliest."""
    logits = torch.tensor([1.0, 3.0, -2.0, float("-inf")]) * scale
    generator = torch.Generator().manual_seed(1)
    drawn = {sample(logits, Sampling(temperature=temperature), generator) for _ in range(20)}
    assert drawn <= {0, 1, 2}
    if temperature < 1:
        assert drawn == {1}


def test_top_p_keeps_the_likeliest_until_they_suffice() -> None:
    """Draws come from the smallest set of likeliest tokens that has ``top_p`` together, and from one token at least."""
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()

    def drawn(top_p: float) -> set[int]:
        generator = torch.Generator().manual_seed(1)
        sampling = Sampling(temperature=1.0, top_p=top_p)
        return {sample(logits, sampling, generator) for _ in range(300)}

    assert [drawn(top_p) for top_p in (0.0, 0.5, 0.6, 0.8, 0.95, 1.0)] == [
        {0},
        {0},
        {0, 1},
        {0, 1},
        {0, 1, 2},
        {0, 1, 2, 3},
    ]


def test_penalties_are_taken_off_what_the_answer_holds() -> None:
    """Frequency counts each time, presence once; a negative one makes a repetition likelier; other tokens keep their logits."""
    logits = torch.zeros(4)
    told = penalise(logits, Sampling(frequency_penalty=0.5, presence_penalty=1.0), [2, 2, 1])
    assert told.tolist() == [0.0, -1.5, -2.0, 0.0]
    assert penalise(logits, Sampling(frequency_penalty=-1.0), [3]).tolist() == [0.0, 0.0, 0.0, 1.0]
    assert logits.tolist() == [0.0] * 4


async def test_alternatives_are_told_to_those_who_ask(loaded: LoadedModel) -> None:
    """A row that asks for the likeliest tokens has them beside each of its own; the greedy choice is the first; others have none."""
    rows: list[list[Outcome]] = [[], []]
    sequences = [
        TokenSequence([5, 6, 7], Sampling(max_tokens=3, top_logprobs=3), rows[0].append),
        TokenSequence([9, 10, 11], Sampling(max_tokens=3), rows[1].append),
    ]
    run = GenerationRun(loaded, sequences)
    while not run.done:
        for sequence, outcome in run.step():
            sequence.deliver(outcome)
    for token in rows[0]:
        assert isinstance(token, Token)
        assert token.alternatives[0] == (token.token_id, pytest.approx(token.logprob))
        assert [value for _, value in token.alternatives] == sorted(
            (value for _, value in token.alternatives), reverse=True
        )
    assert all(isinstance(token, Token) and not token.alternatives for token in rows[1])
