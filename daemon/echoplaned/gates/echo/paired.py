"""The test of both versions on the same texts.

Is the mean distance below the margin, above it, or not known yet?

Identical weights differ by exactly 0 and any change by more, so a test of "different" would be certain from one text and useless. What is
tested is "by more than the margin": the confidence sequence of ``bounded`` for the clipped distances, token by token.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from echoplaned.gates.echo import bounded

CLIP_MARGINS_TOKENS = 10.0
CLIP_MARGINS_OUTPUTS = 5.0
"""A distance counts for at most so many margins: what few tokens do cannot decide alone. With one distance a text there are few of
them, and the bound has to be nearer for them to show anything."""

MAX_MOVED = 3
"""How many texts are named as those that moved most."""


class DistanceMeasure(StrEnum):
    """The measures of distance between two versions on a text.

    KL and CLASS_KL: nats; LOG_PROBABILITY: absolute difference in nats; COSINE: one less the cosine.
    """

    KL = "KL"
    LOG_PROBABILITY = "LOG_PROBABILITY"
    COSINE = "COSINE"
    CLASS_KL = "CLASS_KL"

    @property
    def by_token(self) -> bool:
        """Whether a text gives one distance a token, rather than one in all."""
        return self in {DistanceMeasure.KL, DistanceMeasure.LOG_PROBABILITY}


@dataclass(frozen=True, slots=True)
class TextDistance:
    """One text's distances between both versions.

    Attributes:
        text: the golden text.
        distances: distances by token, or one in all; what is not finite counts as far as can be.
    """

    text: str
    distances: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean distance; infinite where one is not finite."""
        if not all(map(math.isfinite, self.distances)):
            return math.inf
        return math.fsum(self.distances) / len(self.distances) if self.distances else 0.0


@dataclass(frozen=True, slots=True)
class PairedTest:
    """The parameters of the paired test.

    Attributes:
        measure: what the distances are.
        margin: margin of the mean, in the measure's units, above 0.
        alpha: chance of calling a smaller mean larger than the margin.
        pass_alpha: chance of calling a larger mean smaller than the margin.
    """

    measure: DistanceMeasure
    margin: float
    alpha: float
    pass_alpha: float

    @property
    def ceiling(self) -> float:
        """What a distance counts for at most."""
        return self.margin * (CLIP_MARGINS_TOKENS if self.measure.by_token else CLIP_MARGINS_OUTPUTS)


@dataclass(frozen=True, slots=True)
class PairedResult:
    """What the texts say of the mean distance.

    Attributes:
        test: the parameters.
        texts: texts that have a distance, from 0.
        tokens: distances of all texts, from 0.
        clipped: distances that reach the ceiling, from 0.
        mean: mean of the clipped distances, in the measure's units.
        lower: lower confidence limit of the mean, at ``alpha``; from 0.
        upper: upper confidence limit of the mean, at ``pass_alpha``; the ceiling without texts.
        log_e: natural logarithm of the e-value against "the mean is at most the margin".
        log_e_within: natural logarithm of the e-value against "the mean is at least the margin".
        moved: the texts that moved most, the farthest first, with their own means; at most ``MAX_MOVED``.
    """

    test: PairedTest
    texts: int = 0
    tokens: int = 0
    clipped: int = 0
    mean: float = 0.0
    lower: float = 0.0
    upper: float = math.inf
    log_e: float = 0.0
    log_e_within: float = 0.0
    moved: tuple[TextDistance, ...] = ()

    @property
    def is_within(self) -> bool:
        """Whether the mean is below the margin, at confidence ``1 - pass_alpha``."""
        return self.texts > 0 and self.log_e_within >= -math.log(self.test.pass_alpha)

    @property
    def is_beyond(self) -> bool:
        """Whether the mean is above the margin, at confidence ``1 - alpha``."""
        return self.log_e >= -math.log(self.test.alpha)


def compare(texts: tuple[TextDistance, ...], test: PairedTest) -> PairedResult:
    """Weigh the distances of texts, in their order."""
    measured = tuple(text for text in texts if text.distances)
    if not measured:
        return PairedResult(test, upper=test.ceiling)
    raw = np.concatenate([np.asarray(text.distances, dtype=np.float64) for text in measured])
    values = _clipped(raw, test.ceiling)
    return PairedResult(
        test,
        texts=len(measured),
        tokens=values.size,
        clipped=int((values >= test.ceiling).sum()),
        mean=float(values.mean()),
        lower=bounded.lower_limit(values, test.alpha),
        upper=bounded.upper_limit(values, test.pass_alpha, test.ceiling),
        log_e=bounded.log_e_above(values, test.margin),
        log_e_within=bounded.log_e_below(values, test.margin, test.ceiling),
        moved=tuple(sorted(measured, key=lambda text: -text.mean)[:MAX_MOVED]),
    )


def _clipped(values: NDArray[np.float64], ceiling: float) -> NDArray[np.float64]:
    return np.clip(np.where(np.isfinite(values), values, ceiling), 0.0, ceiling)
