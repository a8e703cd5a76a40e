"""Draws answers of a batch of requests, and scores answers that stand there already."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from benchmarks.dtesn.drift import llama
from benchmarks.dtesn.drift.llama import Cache, Llama


@dataclass(frozen=True, slots=True)
class Drawing:
    """How tokens are drawn."""

    temperature: float = 1.0
    top_p: float = 1.0


@dataclass(frozen=True, slots=True)
class Batch:
    """Prompts, [requests, prompt length], behind one header, to be answered with ``length`` tokens each."""

    header: torch.Tensor
    prompts: torch.Tensor
    length: int


@dataclass(frozen=True, slots=True)
class Answers:
    """Drawn tokens with the log-probability and the entropy of the model's own distribution, in nats; each [requests, tokens]."""

    tokens: torch.Tensor
    log_probabilities: torch.Tensor
    entropies: torch.Tensor


def answer(model: Llama, batch: Batch, drawing: Drawing, generator: torch.Generator) -> Answers:
    """Answer a batch of requests."""
    cache = begun(model, batch.header, len(batch.prompts), batch.prompts.shape[1] + batch.length)
    fed, drawn = batch.prompts, []
    for _ in range(batch.length):
        hidden = llama.forward(model, fed, cache)[:, -1]
        logs = llama.log_probabilities(model, hidden)
        chosen = _draw(logs, drawing, generator)
        drawn.append((chosen[:, 0], logs.gather(1, chosen)[:, 0], entropy(logs)))
        fed = chosen
    columns = [torch.stack(column, dim=1) for column in zip(*drawn, strict=True)]
    return Answers(*columns)


def begun(model: Llama, header: torch.Tensor, count: int, positions: int) -> Cache:
    """Return a cache whose rows have all read the header, with room for more positions."""
    cache = Cache(1, len(header) + positions)
    llama.forward(model, header[None], cache)
    return cache.repeated(count)


def scored(model: Llama, header: torch.Tensor, texts: torch.Tensor, prompt_length: int) -> torch.Tensor:
    """Return the distributions of the answers' tokens, as logarithms, [texts, answer length, vocabulary], prompts before them."""
    cache = begun(model, header, len(texts), texts.shape[1])
    hidden = llama.forward(model, texts[:, :-1], cache)
    return llama.log_probabilities(model, hidden[:, prompt_length - 1 :])


def entropy(logs: torch.Tensor) -> torch.Tensor:
    """Return the entropy of distributions given as logarithms, over the last dimension."""
    return -torch.linalg.vecdot(logs.exp(), logs)


def served(logs: torch.Tensor, drawing: Drawing) -> torch.Tensor:
    """Return the distribution that tokens are drawn from, as logarithms: after temperature, and after top-p."""
    if drawing.temperature != 1.0:
        logs = torch.log_softmax(logs / drawing.temperature, dim=-1)
    if drawing.top_p < 1.0:
        ordered, order = logs.sort(dim=-1, descending=True)
        before = ordered.exp().cumsum(dim=-1) - ordered.exp()
        kept = torch.zeros_like(logs, dtype=torch.bool).scatter(-1, order, before < drawing.top_p)
        logs = torch.log_softmax(logs.masked_fill(~kept, float("-inf")), dim=-1)
    return logs


def _draw(logs: torch.Tensor, drawing: Drawing, generator: torch.Generator) -> torch.Tensor:
    """Draw a token a row, [rows, 1], by inverting the distribution function; never one of probability 0."""
    total = served(logs, drawing).exp().cumsum(dim=-1)
    # The complement of [0, 1) is (0, 1]: a uniform 0 must not choose a token of probability 0.
    uniform = (1.0 - torch.rand(len(logs), 1, generator=generator)) * total[:, -1:]
    return torch.searchsorted(total, uniform).clamp(max=logs.shape[-1] - 1)
