"""Describes how large a live change is; the bets decide.

The measure is the maximum mean discrepancy of each listener's features.

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
    """The features of a matched pair of requests, by listener.

    Attributes:
        new: features of the new version's request, one array of shape (features,) a listener, in the order of ``Listener``.
        old: features of the old version's request, in the same form.
    """

    new: tuple[Floats, ...]
    old: tuple[Floats, ...]


@dataclass(frozen=True, slots=True)
class ChangeDescription:
    """How large a live change is in one listener's view.

    Attributes:
        listener: the listener.
        statistic: unbiased MMD squared: about 0, and often below it, without a change; at most 2.
        p_value: p-value by permutation within pairs, at most 1; for one look only.
        pairs: pairs that it rests on, at most ``MAX_PAIRS``.
    """

    listener: Listener
    statistic: float
    p_value: float
    pairs: int


def is_due(pairs: int, held: int, described: int) -> bool:
    """Return whether a rollout with so many pairs is to be described.

    Args:
        pairs: pairs that the rollout has.
        held: pairs whose features are there; after a restart there are none at first.
        described: pairs that it had when it was last described.
    """
    return held >= MIN_PAIRS and pairs >= GROWTH * described


def describe(pairs: tuple[PairFeatures, ...]) -> tuple[ChangeDescription, ...]:
    """Compare the versions' features, listener by listener.

    Takes up to half a second, with the interpreter released.
    """
    strata = np.tile(np.arange(len(pairs), dtype=np.uint32), 2)
    described = []
    for at, listener in enumerate(Listener):
        new, old = np.stack([pair.new[at] for pair in pairs]), np.stack([pair.old[at] for pair in pairs])
        found = mmd(new, old, strata, NullPlan(threads=1))
        described.append(ChangeDescription(listener, found.statistic, found.p_value, len(pairs)))
    return tuple(described)
