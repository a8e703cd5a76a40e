"""Causal generation of a cohort: sequences that share one key-value cache.

All rows grow by one token a step.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from transformers import DynamicCache

from echoplaned.worker.loading import LoadedModel
from echoplaned.worker.sequences import RowFailure, RowOutcome, Sampling, Token, TokenSequence
from echoplaned.worker_contract.inference.errors import ModelFailedError


@dataclass(slots=True)
class _Row:
    """A sequence within a cohort, its random source and its generated tokens.

    The cache may lack the last of the tokens.
    """

    sequence: TokenSequence
    generator: torch.Generator | None
    produced: list[int] = field(default_factory=list)

    @property
    def token_ids(self) -> list[int]:
        """The prompt and what followed."""
        return self.sequence.token_ids + self.produced


class GenerationRun:
    """A cohort of sequences that are generated together.

    Prompts are padded on the left and computed in the first step; rows leave as they end or are cancelled.
    """

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
        """Return a cohort of one of the rows.

        It computes the prompt and the tokens so far again, and goes on with the next token.
        """
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
            row.produced.append(_draw(logits[index], row) if usable[index] else 0)
        ids = torch.tensor([[row.produced[-1]] for row in self._rows], device=logprobs.device)
        chosen = logprobs.gather(1, ids).squeeze(1).tolist()
        traced = any(row.sequence.traced for row in self._rows)
        measured = entropies(logprobs) if traced else [0.0] * len(self._rows)
        likeliest = _likeliest(logprobs, [row.sequence.sampling.top_logprobs for row in self._rows])
        return [
            self._outcome(row, logprob, entropy, best)
            if good
            else RowFailure(ModelFailedError("the model's output is not finite"))
            for row, logprob, entropy, best, good in zip(self._rows, chosen, measured, likeliest, usable, strict=True)
        ]

    def _outcome(self, row: _Row, logprob: float, entropy: float, likeliest: tuple[tuple[int, float], ...]) -> Token:
        """Say what a row's new token is, and whether it is the last."""
        token_id = row.produced[-1]
        stopped = token_id in self._loaded.stop_token_ids
        last = stopped or len(row.produced) >= row.sequence.sampling.max_tokens
        return Token(token_id, logprob, last, entropy, stopped, likeliest)

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
    """Return the id of the next token, chosen from its logits.

    The likeliest at temperature 0, else a draw from softmax(logits / temperature) over the ``top_k`` likeliest, then over those
    that have ``top_p`` together.
    """
    if generator is None:
        return int(logits.argmax())
    # Nothing is above 0 after the subtraction, so that no temperature makes an infinity, and the softmax of it NaN.
    host = logits.cpu()
    scaled = (host - host.max()) / sampling.temperature
    if 0 < sampling.top_k < scaled.numel():
        threshold = scaled.topk(sampling.top_k).values[-1]
        scaled = scaled.masked_fill(scaled < threshold, float("-inf"))
    probabilities = torch.softmax(scaled, dim=-1)
    if sampling.top_p < 1:
        probabilities = _nucleus(probabilities, sampling.top_p)
    return int(torch.multinomial(probabilities, 1, generator=generator))


def penalise(logits: torch.Tensor, sampling: Sampling, produced: list[int]) -> torch.Tensor:
    """Return logits less the penalties of the tokens that the answer holds already.

    The prompt's tokens do not count.
    """
    ids, counts = torch.tensor(produced, device=logits.device).unique(return_counts=True)
    penalties = sampling.frequency_penalty * counts.to(logits.dtype) + sampling.presence_penalty
    return logits.index_add(0, ids, -penalties)


def _draw(logits: torch.Tensor, row: _Row) -> int:
    """Choose a row's next token."""
    sampling = row.sequence.sampling
    if sampling.penalises and row.produced:
        logits = penalise(logits, sampling, row.produced)
    return sample(logits, sampling, row.generator)


def _nucleus(probabilities: torch.Tensor, top_p: float) -> torch.Tensor:
    """Keep the likeliest tokens until they have the probability ``top_p`` together.

    The token that reaches it is kept, so there is always one; the others' probabilities become 0.
    """
    ordered, order = probabilities.sort(descending=True)
    beyond = ordered.cumsum(0) - ordered >= top_p
    beyond[0] = False
    return probabilities.index_fill(0, order[beyond], 0.0)


def _likeliest(logprobs: torch.Tensor, wanted: list[int]) -> list[tuple[tuple[int, float], ...]]:
    """Return each row's likeliest tokens with their log-probabilities.

    A row gets as many as it wants, the likeliest first.
    """
    most = min(max(wanted), logprobs.shape[-1])
    if most == 0:
        return [()] * len(wanted)
    values, ids = logprobs.topk(most, dim=-1)
    pairs = [tuple(zip(*row, strict=True)) for row in zip(ids.tolist(), values.tolist(), strict=True)]
    return [row[:count] for row, count in zip(pairs, wanted, strict=True)]


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
    """Return ids and mask of rows that are padded before their tokens.

    Both are INT64 [rows, longest].
    """
    longest = max(len(row) for row in rows)
    ids = torch.tensor([[pad_token_id] * (longest - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    return ids, mask
