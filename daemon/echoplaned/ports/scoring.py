"""Golden texts scored by a version, each token given the text before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from echoplaned.core.facts import ModelFacts
from echoplaned.core.ids import VersionKey


@dataclass(frozen=True, slots=True, eq=False)
class ScoreOutcome:
    """How one version scores one golden text; every number is finite.

    Attributes:
        ok: whether the text was scored.
        detail: why it was not; empty if it was.
        token_ids: [T], the text's own tokens but the first, cut to the version's context; None where there are no tokens.
        log_probabilities: [T], nats, of each of them, given those before it; None where there are no tokens.
        distributions: [T, V], nats, the whole distribution at each of them; None where it is too large for a message.
        vector: [width], an embedding or logits; None for a generation.
    """

    ok: bool
    detail: str = ""
    token_ids: npt.NDArray[np.int64] | None = None
    log_probabilities: npt.NDArray[np.float32] | None = None
    distributions: npt.NDArray[np.float32] | None = None
    vector: npt.NDArray[np.float32] | None = None


class Scorer(Protocol):
    """Has golden texts scored, teacher-forced.

    The same text under two versions makes a pair.
    """

    @property
    def text_count(self) -> int:
        """How many texts there are."""
        ...

    def text(self, index: int) -> str:
        """Return golden text ``index`` (modulo their number)."""
        ...

    async def score(
        self, version: VersionKey, facts: ModelFacts, address: str, index: int, *, as_int8: bool = False
    ) -> ScoreOutcome:
        """Have one golden text scored by one instance of a version.

        The text is number ``index``, modulo their number. Never raises for an engine's failure.

        ``as_int8``: as the version in INT8 would score it; an engine that cannot tell says so.
        """
        ...
