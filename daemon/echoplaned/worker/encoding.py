"""Encoders: one forward pass over a batch of sequences gives one vector each."""

from __future__ import annotations

import torch

from echoplaned.core.facts import Task
from echoplaned.worker.loading import LoadedModel
from echoplaned.worker.sequences import RowFailure, RowOutcome, TokenSequence, Vector
from echoplaned.worker_contract.inference.errors import ModelFailedError


class EncoderRun:
    """One batch through an embedding or a classification model; done after one step."""

    def __init__(self, loaded: LoadedModel, rows: list[TokenSequence]) -> None:
        self._loaded = loaded
        self._rows = rows
        self.done = False

    @property
    def rows(self) -> list[TokenSequence]:
        """The sequences that still wait for an answer."""
        return [] if self.done else self._rows

    def step(self) -> list[RowOutcome]:
        """Run the model and return each row's outcome."""
        self._rows = [row for row in self._rows if not row.cancelled]
        told = self._forward(self._rows) if self._rows else []
        self.done = True
        return told

    def alone(self, row: TokenSequence) -> EncoderRun:
        """Return a batch of one of the rows."""
        return EncoderRun(self._loaded, [row])

    def _forward(self, rows: list[TokenSequence]) -> list[RowOutcome]:
        ids, mask = pad_right([row.token_ids for row in rows], self._loaded.pad_token_id)
        device = self._loaded.options.device
        ids, mask = ids.to(device), mask.to(device)
        with torch.inference_mode():
            output = self._loaded.model(input_ids=ids, attention_mask=mask)
            if self._loaded.options.task is Task.EMBEDDING:
                vectors = self._loaded.pooling.apply(output.last_hidden_state, mask)
            else:
                vectors = output.logits.float()
        finite = torch.isfinite(vectors).all(dim=1).tolist()
        values = vectors.cpu().numpy()
        return [
            (
                row,
                Vector(values[index])
                if finite[index]
                else RowFailure(ModelFailedError("the model's output is not finite")),
            )
            for index, row in enumerate(rows)
        ]


def pad_right(rows: list[list[int]], pad_token_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and mask of rows that are padded after their tokens.

    Both are INT64 [rows, longest].
    """
    longest = max(len(row) for row in rows)
    ids = torch.tensor([row + [pad_token_id] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return ids, mask
