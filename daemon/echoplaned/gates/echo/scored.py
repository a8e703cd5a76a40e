"""Compares both versions' scores of one golden text.

The comparison says how far they are apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from echoplaned.gates.echo import distances
from echoplaned.gates.echo.paired import DistanceMeasure, TextDistance
from echoplaned.ports.scoring import ScoreOutcome


@dataclass(frozen=True, slots=True)
class ScoredText:
    """One golden text, scored by both versions.

    Attributes:
        index: index of the text among the golden texts, from 0.
        text: the text.
        kl: KL divergence by token, in nats; None where not both gave what it needs.
        difference: absolute difference of log-probabilities by token, in nats; None where not both gave what it needs.
        cosine: cosine distance of outputs, in [0, 2] or NaN; None where not both gave an output.
        class_kl: KL divergence of outputs taken as logits, in nats; None where not both gave an output.
        problem: why the versions cannot be compared on it; empty if they can.
    """

    index: int
    text: str
    kl: tuple[float, ...] | None = None
    difference: tuple[float, ...] | None = None
    cosine: float | None = None
    class_kl: float | None = None
    problem: str = ""

    def distance(self, measure: DistanceMeasure) -> TextDistance | None:
        """Return the text's distances by a measure; None where there are none."""
        match measure:
            case DistanceMeasure.KL:
                found = self.kl
            case DistanceMeasure.LOG_PROBABILITY:
                found = self.difference
            case DistanceMeasure.COSINE:
                found = None if self.cosine is None else (self.cosine,)
            case DistanceMeasure.CLASS_KL:
                found = None if self.class_kl is None else (self.class_kl,)
        return None if found is None else TextDistance(self.text, found)


def compare(index: int, text: str, new: ScoreOutcome, old: ScoreOutcome) -> ScoredText:
    """Compare the two scores of a text."""
    for side, outcome in (("new", new), ("old", old)):
        if not outcome.ok:
            return ScoredText(index, text, problem=f"the {side} version: {outcome.detail or 'no score'}")
    if new.vector is not None and old.vector is not None:
        far = new.vector.size != old.vector.size
        class_kl = math.inf if far else distances.class_kl(old.vector, new.vector)
        return ScoredText(index, text, cosine=distances.cosine_distance(old.vector, new.vector), class_kl=class_kl)
    if new.log_probabilities is None or old.log_probabilities is None:
        return ScoredText(index, text, problem="the versions give different kinds of answers")
    return _by_token(index, text, new, old)


def _by_token(index: int, text: str, new: ScoreOutcome, old: ScoreOutcome) -> ScoredText:
    """Compare token by token, as far as the shorter context reaches.

    A text that is split otherwise is as far as can be.
    """
    ours, theirs = new.log_probabilities, old.log_probabilities
    if ours is None or theirs is None:
        raise ValueError("both versions must have scored tokens")
    shared = min(len(ours), len(theirs))
    if _split_otherwise(new, old, shared):
        far = (math.inf,) * max(1, shared)
        return ScoredText(index, text, difference=far, kl=far)
    difference = tuple(map(float, distances.token_difference(theirs[:shared], ours[:shared])))
    p, q = old.distributions, new.distributions
    if p is None or q is None:
        return ScoredText(index, text, difference=difference)
    if p.shape[1] != q.shape[1]:
        return ScoredText(index, text, difference=difference, kl=(math.inf,) * shared)
    return ScoredText(
        index, text, difference=difference, kl=tuple(map(float, distances.token_kl(p[:shared], q[:shared])))
    )


def _split_otherwise(new: ScoreOutcome, old: ScoreOutcome, shared: int) -> bool:
    """Whether the versions' tokenizers disagree on the text."""
    if new.token_ids is None or old.token_ids is None:
        return False
    return not np.array_equal(new.token_ids[:shared], old.token_ids[:shared])
