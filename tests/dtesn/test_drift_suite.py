"""The drift suite's own Llama and how it draws."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from transformers import LlamaConfig, LlamaForCausalLM  # noqa: E402

from benchmarks.dtesn.drift import llama, network, sampling  # noqa: E402
from benchmarks.dtesn.drift.sampling import Batch, Drawing  # noqa: E402


def drawn_model() -> tuple[LlamaForCausalLM, llama.Llama]:
    """Return random weights as transformers' model and as the suite's."""
    torch.manual_seed(0)
    theirs = LlamaForCausalLM(LlamaConfig(**network.SHAPE)).eval()
    return theirs, llama.from_state({name: weight.detach() for name, weight in theirs.state_dict().items()})


def test_the_forward_pass_is_that_of_transformers() -> None:
    """Log-probabilities agree, also where the text comes in two parts."""
    theirs, ours = drawn_model()
    tokens = torch.randint(0, network.VOCABULARY, (3, 40))
    with torch.inference_mode():
        expected = torch.log_softmax(theirs(tokens).logits, dim=-1)
        cache = llama.Cache(3, 40)
        parts = [llama.log_probabilities(ours, llama.forward(ours, part, cache)) for part in tokens.split(25, dim=1)]
    assert torch.allclose(torch.cat(parts, dim=1), expected, atol=1e-4)


def test_scoring_gives_what_drawing_told() -> None:
    """An answer's log-probabilities are the same when it is scored afterwards."""
    _, ours = drawn_model()
    header, prompts = torch.arange(5), torch.randint(0, network.VOCABULARY, (4, 6))
    with torch.inference_mode():
        answers = sampling.answer(ours, Batch(header, prompts, 7), Drawing(), torch.Generator().manual_seed(1))
        scored = sampling.scored(ours, header, torch.cat([prompts, answers.tokens], dim=1), 6)
    told = scored.gather(2, answers.tokens[:, :, None])[:, :, 0]
    assert torch.allclose(told, answers.log_probabilities, atol=1e-4)


def test_top_p_keeps_the_fewest_tokens_that_reach_it() -> None:
    """What is left out is never drawn, and the rest adds up to 1."""
    logs = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    served = sampling.served(logs, Drawing(top_p=0.7)).exp()
    assert torch.allclose(served, torch.tensor([[0.625, 0.375, 0.0, 0.0]]))
