"""The size of a batch as the model computes it."""

from __future__ import annotations

from dataclasses import dataclass

from echoplaned.worker.sequences import TokenSequence


@dataclass(frozen=True, slots=True)
class BatchShape:
    """Shape of a padded batch.

    Attributes:
        sequences: rows; 0: no batch yet.
        tokens: tokens that each row is padded to; 0: no batch yet.
    """

    sequences: int = 0
    tokens: int = 0

    @classmethod
    def of(cls, rows: list[TokenSequence]) -> BatchShape:
        """Return the shape of a batch's first step."""
        return cls(len(rows), max((len(row.token_ids) for row in rows), default=0))

    @property
    def positions(self) -> int:
        """Tokens of all rows, with what they are padded by."""
        return self.sequences * self.tokens

    def larger(self, other: BatchShape) -> BatchShape:
        """Return whichever of two shapes has more padded tokens.

        Of equals the one with the longer rows, whose attention is larger.
        """
        return max(self, other, key=lambda shape: (shape.positions, shape.tokens))
