"""Teacher-forced scoring: log-probabilities of tokens that are given already.

A stretch of them is computed in each step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from transformers import DynamicCache

from echoplaned.worker.encoding import pad_right
from echoplaned.worker.loading import LoadedModel
from echoplaned.worker.sequences import RowFailure, RowOutcome, Scored, TokenSequence
from echoplaned.worker_contract.inference.errors import ModelFailedError

STRETCH_BYTES: Final = 16 * 1024 * 1024
"""FP32 logits that one step makes at most (and one token a row at least); some three times that is taken for a moment."""

_IMPOSSIBLE: Final = -10_000.0  # nats that stand for minus infinity, within FP16's range


@dataclass(frozen=True, slots=True)
class _Part:
    """One row's share of one stretch of tokens.

    Its log-probabilities, the whole distributions where they are asked for, and whether all of it is finite.
    """

    chosen: npt.NDArray[np.float32]
    whole: npt.NDArray[np.float32 | np.float16] | None
    usable: bool


class ScoringRun:
    """A batch of sequences that are scored together, padded after their tokens.

    The first stretch fills the cache for the next; most texts have one stretch.
    """

    def __init__(self, loaded: LoadedModel, rows: list[TokenSequence]) -> None:
        self._loaded = loaded
        self._rows = rows
        device = loaded.options.device
        ids, mask = pad_right([row.token_ids for row in rows], loaded.pad_token_id)
        self._ids, self._mask = ids.to(device), mask.to(device)
        self._cache = DynamicCache(config=loaded.model.config)
        self._parts: list[list[_Part]] = [[] for _ in rows]
        self._at = 0
        # The last token predicts nothing that is there.
        self._end = int(ids.shape[1]) - 1
        self._stretch = max(1, STRETCH_BYTES // (4 * len(rows) * loaded.vocabulary_size))

    @property
    def done(self) -> bool:
        """Whether every token is scored, or nobody waits any more."""
        return not self._rows

    @property
    def rows(self) -> list[TokenSequence]:
        """The sequences that still wait."""
        return self._rows

    def step(self) -> list[RowOutcome]:
        """Score the next stretch; return the outcomes after the last one."""
        self._keep([index for index, row in enumerate(self._rows) if not row.cancelled])
        if not self._rows:
            return []
        stop = min(self._end, self._at + self._stretch)
        with torch.inference_mode():
            logprobs = torch.log_softmax(self._forward(stop), dim=-1)
            targets = self._ids[:, self._at + 1 : stop + 1].unsqueeze(-1)
            chosen = logprobs.gather(2, targets).squeeze(-1).cpu().numpy()
            for index, row in enumerate(self._rows):
                self._parts[index].append(self._part(row, chosen[index], logprobs[index]))
        self._at = stop
        return self._finish() if stop == self._end else []

    def alone(self, row: TokenSequence) -> ScoringRun:
        """Return a batch of one of the rows, which begins again.

        Nothing is lost by that: none of its outcomes was delivered yet.
        """
        return ScoringRun(self._loaded, [row])

    def _forward(self, stop: int) -> torch.Tensor:
        """Return the logits of a stretch, FP32 [rows, tokens, vocabulary]."""
        positions = torch.arange(self._at, stop, device=self._ids.device).unsqueeze(0)
        output = self._loaded.model(
            input_ids=self._ids[:, self._at : stop],
            attention_mask=self._mask[:, :stop],
            position_ids=positions.expand(len(self._rows), -1),
            past_key_values=self._cache,
            use_cache=True,
        )
        logits: torch.Tensor = output.logits.float()
        return logits

    def _part(self, row: TokenSequence, chosen: npt.NDArray[np.float32], logprobs: torch.Tensor) -> _Part:
        """Cut one row's share of a stretch to its own tokens."""
        count = max(0, min(len(row.token_ids) - 1 - self._at, len(chosen)))
        own = logprobs[:count]
        usable = not bool(torch.isnan(own).any()) and bool(np.isfinite(chosen[:count]).all())
        wanted = row.scoring.distributions if row.scoring is not None else None
        whole = None if wanted is None else own.clamp(min=_IMPOSSIBLE).cpu().numpy().astype(wanted)
        return _Part(chosen[:count].copy(), whole, usable)

    def _finish(self) -> list[RowOutcome]:
        outcomes: list[RowOutcome] = [(row, _joined(parts)) for row, parts in zip(self._rows, self._parts, strict=True)]
        self._rows = []
        return outcomes

    def _keep(self, kept: list[int]) -> None:
        """Drop the rows that nobody waits for."""
        if len(kept) == len(self._rows):
            return
        self._rows = [self._rows[index] for index in kept]
        self._parts = [self._parts[index] for index in kept]
        if self._rows:
            index = torch.tensor(kept, device=self._ids.device)
            self._ids, self._mask = self._ids[index], self._mask[index]
            if self._at:
                self._cache.batch_select_indices(index)


def _joined(parts: list[_Part]) -> Scored | RowFailure:
    """Put a row's stretches together."""
    if not all(part.usable for part in parts):
        return RowFailure(ModelFailedError("the model's output is not finite"))
    whole = [part.whole for part in parts if part.whole is not None]
    return Scored(np.concatenate([part.chosen for part in parts]), np.concatenate(whole) if whole else None)
