"""Scoring a real decoder's tokens, against its own whole forward pass."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from echoplaned.core.facts import Dtype, Task
from echoplaned.core.ids import InstanceKey
from echoplaned.worker import scoring
from echoplaned.worker.generating import entropies
from echoplaned.worker.loading import LoadedModel, load_model
from echoplaned.worker.options import LoadOptions
from echoplaned.worker.scoring import ScoringRun
from echoplaned.worker.sequences import Outcome, Sampling, Scored, Scoring, TokenSequence
from tests.models import Checkpoints

ROWS = ([5, 70, 301, 44, 9, 12, 250, 7], [300, 8, 17], [11, 12])


@pytest.fixture(scope="module")
def loaded(checkpoints: Checkpoints) -> LoadedModel:
    """The small decoder, in this process."""
    instance = InstanceKey.parse("m/v#0")
    return load_model(LoadOptions(instance, 1, checkpoints.decoder, Task.GENERATION, Dtype.FP32, 64, 4))


def sequences(got: list[Outcome]) -> list[TokenSequence]:
    """Return the rows, to be scored with whole distributions."""
    return [TokenSequence(list(row), Sampling(), got.append, scoring=Scoring(np.float32)) for row in ROWS]


def run_to_end(run: ScoringRun) -> list[Scored]:
    """Return each row's outcome."""
    told = []
    while not run.done:
        told += run.step()
    outcomes = [outcome for _, outcome in told]
    assert all(isinstance(outcome, Scored) for outcome in outcomes)
    return [outcome for outcome in outcomes if isinstance(outcome, Scored)]


@pytest.mark.parametrize("tokens", [1, 3, 1000])
def test_scores_are_those_of_one_whole_pass(loaded: LoadedModel, tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a stretch is, and whatever is beside a row, its log-probabilities are the model's own."""
    monkeypatch.setattr(scoring, "STRETCH_BYTES", tokens * 4 * len(ROWS) * loaded.vocabulary_size)
    for row, scored in zip(ROWS, run_to_end(ScoringRun(loaded, sequences([]))), strict=True):
        with torch.inference_mode():
            logits = loaded.model(input_ids=torch.tensor([row])).logits[0, :-1].float()
        expected = torch.log_softmax(logits, dim=-1).numpy()
        assert scored.distributions is not None
        assert scored.distributions == pytest.approx(expected, abs=2e-5)
        assert scored.logprobs == pytest.approx(expected[range(len(row) - 1), list(row[1:])], abs=2e-5)


def test_a_row_that_nobody_waits_for_leaves_between_stretches(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest goes on and stays right; without any row left nothing is computed."""
    whole = run_to_end(ScoringRun(loaded, sequences([])))
    monkeypatch.setattr(scoring, "STRETCH_BYTES", 2 * 4 * len(ROWS) * loaded.vocabulary_size)
    rows = sequences([])
    run = ScoringRun(loaded, rows)
    assert run.step() == []
    rows[1].cancel()
    left = run_to_end(run)
    assert len(left) == 2
    assert left[0].logprobs == pytest.approx(whole[0].logprobs, abs=2e-5)
    rows = sequences([])
    run = ScoringRun(loaded, rows)
    for row in rows:
        row.cancel()
    assert run.step() == []
    assert run.done


def test_the_entropy_of_a_distribution() -> None:
    """Uniform, certain, and one with impossible tokens, whose terms are 0."""
    rows = torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.0, -200.0, -200.0, -200.0], [0.0, 0.0, -math.inf, -math.inf]])
    assert entropies(torch.log_softmax(rows, dim=-1)) == pytest.approx([math.log(4), 0.0, math.log(2)], abs=1e-6)
    assert entropies(torch.log_softmax(rows[:1], dim=-1)) == pytest.approx([math.log(4)], abs=1e-6)
