"""Causal generation: a cohort of sequences that share one key-value cache and grow by one token a step."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from transformers import DynamicCache

from echoplaned.worker.loading import LoadedModel
from echoplaned.worker.sequences import RowFailure, RowOutcome, Sampling, Token, TokenSequence
from echoplaned.worker_contract.inference.errors import ModelFailedError


@dataclass(slots=True)
class _Row:
    """A sequence within a cohort, its random source, and the tokens that it was given; the cache may lack the last of them."""

    sequence: TokenSequence
    generator: torch.Generator | None
    produced: list[int] = field(default_factory=list)

    @property
    def token_ids(self) -> list[int]:
        """The prompt and what followed."""
        return self.sequence.token_ids + self.produced


class GenerationRun:
    """A cohort: prompts are padded on the left and computed in the first step; rows leave as they end or are cancelled."""

    def __init__(self, loaded: LoadedModel, rows: list[TokenSequence], going_on: tuple[_Row, ...] = ()) -> None:
        self._loaded = loaded
        self._rows = [*going_on, *(_Row(row, _random_source(row.sampling)) for row in rows)]
        self._cache = DynamicCache(config=loaded.model.config)
        self._mask = torch.empty(0)
        self._started = False

    @property
    def done(self) -> bool:
        """Whether no row is left."""
        return not self._rows

    @property
    def rows(self) -> list[TokenSequence]:
        """The sequences that still wait for tokens."""
        return [row.sequence for row in self._rows]

    def step(self) -> list[RowOutcome]:
        """Give every live row its next token."""
        self._drop([row.sequence.cancelled for row in self._rows])
        if not self._rows:
            return []
        with torch.inference_mode():
            logits = self._forward()
            outcomes = self._choose(logits)
        row_outcomes: list[RowOutcome] = [
            (row.sequence, outcome) for row, outcome in zip(self._rows, outcomes, strict=True)
        ]
        self._drop([isinstance(outcome, RowFailure) or outcome.last for outcome in outcomes])
        return row_outcomes

    def alone(self, row: TokenSequence) -> GenerationRun:
        """Return a cohort of one of the rows, which computes its prompt and its tokens again, and goes on with the next one."""
        return GenerationRun(self._loaded, [], tuple(one for one in self._rows if one.sequence is row))

    def _forward(self) -> torch.Tensor:
        """Return the logits of the next token, FP32 [rows, vocabulary]."""
        device = self._loaded.options.device
        if self._started:
            ids = torch.tensor([[row.produced[-1]] for row in self._rows], device=device)
            self._mask = torch.cat([self._mask, self._mask.new_ones(len(self._rows), 1)], dim=1)
        else:
            ids, self._mask = _pad_left([row.token_ids for row in self._rows], self._loaded.pad_token_id)
            ids, self._mask = ids.to(device), self._mask.to(device)
        positions = (self._mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        output = self._loaded.model(
            input_ids=ids,
            attention_mask=self._mask,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self._started = True
        logits: torch.Tensor = output.logits[:, -1].float()
        return logits

    def _choose(self, logits: torch.Tensor) -> list[Token | RowFailure]:
        """Draw or take the next token of every row from its logits [rows, vocabulary]."""
        logprobs = torch.log_softmax(logits, dim=-1)
        usable = (torch.isfinite(logprobs).any(dim=-1) & ~torch.isnan(logits).any(dim=-1)).tolist()
        for index, row in enumerate(self._rows):
            row.produced.append(sample(logits[index], row.sequence.sampling, row.generator) if usable[index] else 0)
        ids = torch.tensor([[row.produced[-1]] for row in self._rows], device=logprobs.device)
        chosen = logprobs.gather(1, ids).squeeze(1).tolist()
        traced = any(row.sequence.traced for row in self._rows)
        measured = entropies(logprobs) if traced else [0.0] * len(self._rows)
        return [
            self._outcome(row, logprob, entropy)
            if good
            else RowFailure(ModelFailedError("the model's output is not finite"))
            for row, logprob, entropy, good in zip(self._rows, chosen, measured, usable, strict=True)
        ]

    def _outcome(self, row: _Row, logprob: float, entropy: float) -> Token:
        """Say what a row's new token is, and whether it is the last."""
        token_id = row.produced[-1]
        stopped = token_id in self._loaded.stop_token_ids
        last = stopped or len(row.produced) >= row.sequence.sampling.max_tokens
        return Token(token_id, logprob, last, entropy, stopped)

    def _drop(self, leaving: list[bool]) -> None:
        """Take rows out of the cohort, its mask and its cache."""
        if not any(leaving):
            return
        keep = [index for index, leaves in enumerate(leaving) if not leaves]
        self._rows = [self._rows[index] for index in keep]
        if self._rows and self._started:
            index = torch.tensor(keep, device=self._mask.device)
            self._mask = self._mask[index]
            self._cache.batch_select_indices(index)


def sample(logits: torch.Tensor, sampling: Sampling, generator: torch.Generator | None) -> int:
    """Return a token id: the likeliest at temperature 0, else a draw from softmax(logits / temperature) over the ``top_k``."""
    if generator is None:
        return int(logits.argmax())
    # Nothing is above 0 after the subtraction, so that no temperature makes an infinity, and the softmax of it NaN.
    host = logits.cpu()
    scaled = (host - host.max()) / sampling.temperature
    if 0 < sampling.top_k < scaled.numel():
        threshold = scaled.topk(sampling.top_k).values[-1]
        scaled = scaled.masked_fill(scaled < threshold, float("-inf"))
    return int(torch.multinomial(torch.softmax(scaled, dim=-1), 1, generator=generator))


def entropies(logprobs: torch.Tensor) -> list[float]:
    """Return the entropy of each row of log-probabilities [rows, vocabulary], in nats."""
    found: list[float] = torch.linalg.vecdot(logprobs.exp(), logprobs).tolist()
    if any(value != value for value in found):  # noqa: PLR0124 - NaN: a token of probability 0, whose term is 0 and not 0 * inf
        found = logprobs.exp().mul(logprobs).nansum(dim=-1).tolist()
    return [max(0.0, -value) for value in found]


def _random_source(sampling: Sampling) -> torch.Generator | None:
    """Return a row's own generator; None for greedy rows."""
    if sampling.temperature == 0:
        return None
    generator = torch.Generator()
    if sampling.seed is None:
        generator.seed()
    else:
        generator.manual_seed(sampling.seed)
    return generator


def _pad_left(rows: list[list[int]], pad_token_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and mask, both INT64 [rows, longest], with the padding before the tokens."""
    longest = max(len(row) for row in rows)
    ids = torch.tensor([[pad_token_id] * (longest - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    return ids, mask
