"""Which requests a pool holds: prompts of three kinds and four lengths, answers of nine lengths, the same number of each.

Requests of one group run as one batch, so nothing is padded. A request's stratum is what is known before it is answered: the kind of its
prompt and the class of the length that was asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.dtesn.drift.corpus import KINDS
from benchmarks.dtesn.drift.train import Tokens

PROMPT_LENGTHS: Final = (8, 12, 16, 24)
ANSWER_LENGTHS: Final = tuple(range(16, 49, 4))
MAX_ANSWER_LENGTH: Final = max(ANSWER_LENGTHS)
MIN_REQUESTS: Final = 20_000
_LENGTH_CLASSES: Final = 3


@dataclass(frozen=True, slots=True)
class Group:
    """Requests that run together. ``index``: its place among all groups."""

    index: int
    kind: str
    prompt_length: int
    answer_length: int

    @property
    def stratum(self) -> int:
        """The number of its stratum."""
        place = ANSWER_LENGTHS.index(self.answer_length) * _LENGTH_CLASSES // len(ANSWER_LENGTHS)
        return KINDS.index(self.kind) * _LENGTH_CLASSES + place


GROUPS: Final = tuple(
    Group(index, kind, prompt, answer)
    for index, (kind, prompt, answer) in enumerate(
        (kind, prompt, answer) for kind in KINDS for prompt in PROMPT_LENGTHS for answer in ANSWER_LENGTHS
    )
)
GROUP_SIZE: Final = -(-MIN_REQUESTS // len(GROUPS))


def prompts(group: Group, tokens: dict[str, Tokens], rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw a group's prompts from held-out text, [requests, prompt length]."""
    text = tokens[group.kind].held_out
    offsets = rng.integers(0, len(text) - group.prompt_length, GROUP_SIZE)
    return text[offsets[:, None] + np.arange(group.prompt_length)].astype(np.int64)
