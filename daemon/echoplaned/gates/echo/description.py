"""How large a live change is, by the maximum mean discrepancy of each listener's features. It describes; the bets decide.

The median distance and the permutations look at the pairs that they are computed on, and again at later ones, so the p-value is no
evidence that may be looked at at any time. Labels are exchanged within pairs, which is all that the live test assumes of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echoplaned.dtesn import NullPlan, mmd
from echoplaned.gates.echo.features import Listener

Floats = NDArray[np.float64]

MAX_PAIRS = 256
"""Newest pairs that are described."""

MIN_PAIRS = 16
"""With fewer pairs nothing is said."""

GROWTH = 1.25
"""So many times the pairs of the last description are there before the next one."""


@dataclass(frozen=True, slots=True, eq=False)
class PairFeatures:
    """A pair's features by listener, in the order of ``Listener``, each of shape (features,)."""

    new: tuple[Floats, ...]
    old: tuple[Floats, ...]


@dataclass(frozen=True, slots=True)
class ChangeDescription:
    """One listener's view. ``statistic``: unbiased MMD squared; ``p_value``: by permutation within pairs; ``pairs``: it rests on."""

    listener: Listener
    statistic: float
    p_value: float
    pairs: int


def is_due(pairs: int, held: int, described: int) -> bool:
    """Say whether a rollout with so many pairs is to be described, the last time with ``described`` of them.

    ``held``: pairs whose features are there; after a restart there are none at first.
    """
    return held >= MIN_PAIRS and pairs >= GROWTH * described


def describe(pairs: tuple[PairFeatures, ...]) -> tuple[ChangeDescription, ...]:
    """Compare the versions' features, listener by listener. Takes up to half a second, with the interpreter released."""
    strata = np.tile(np.arange(len(pairs), dtype=np.uint32), 2)
    described = []
    for at, listener in enumerate(Listener):
        new, old = np.stack([pair.new[at] for pair in pairs]), np.stack([pair.old[at] for pair in pairs])
        found = mmd(new, old, strata, NullPlan(threads=1))
        described.append(ChangeDescription(listener, found.statistic, found.p_value, len(pairs)))
    return tuple(described)
