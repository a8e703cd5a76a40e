"""The live test: bets on which request of a matched pair is the new version's.

Where both versions behave alike, the two requests of a pair could be exchanged, so ``d``, the difference of their features, is as likely
as ``-d``, whatever came before. A factor ``1 + l tanh(g(new) - g(old))`` then has an expectation of 1 for every ``l`` in [0, 1) and every
``g`` that were chosen before the pair was seen; the wealth is an e-process, and the share of the traffic does not enter. With
``g(x) = w x`` the best bet for normal differences of mean ``m`` and covariance ``S`` is ``w = S^-1 m`` with ``l = 1``: the factor is then
the likelihood ratio ``2 p(d) / (p(d) + p(-d))``. Both are estimated from the pairs before, and shrunk to 0 as far as they may be chance
(James and Stein), so that equal versions cost little.

One bettor uses all features together, and one each feature by itself, which needs far fewer pairs to learn. Half the wealth is given to
the first, half to the others; an average of e-processes is one. (Testing by betting: Shafer, Journal of the Royal Statistical Society A
184, 2021; two-sample tests by predictable plug-in: Shekhar and Ramdas, IEEE Transactions on Information Theory 70, 2024.)

All functions take leading axes: many tests of the same length run side by side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MAX_BET = 0.95
"""Part of the wealth that is at stake at most: one surprise does not end it."""

_PRIOR_PAIRS = 10.0
_PRIOR_SQUARE = 2.0
"""Before any pair a feature's squared difference is 2, that of two independent values of spread 1, as if that many pairs had said so."""


@dataclass(frozen=True, slots=True, eq=False)
class Wager:
    """The wealth of a test and what it has learnt.

    Leading axes [...] are tests that run side by side.

    Attributes:
        pairs: pairs that were bet on, from 0.
        total: sum of differences of features, shape [..., features].
        squares: sum of the products of these differences, shape [..., features, features].
        log_wealth: natural logarithms of each bettor's wealth, shape [..., 1 + features], the bettor on all features first.
    """

    pairs: int
    total: Floats
    squares: Floats
    log_wealth: Floats

    @property
    def features(self) -> int:
        """Features of a request."""
        return int(self.total.shape[-1])

    @property
    def log_e(self) -> Floats:
        """The logarithm of the e-value against "both behave alike", shape [...]."""
        weights = np.full(self.features + 1, 0.5 / self.features)
        weights[0] = 0.5
        top = self.log_wealth.max(axis=-1)
        return np.asarray(top + np.log((np.exp(self.log_wealth - top[..., None]) * weights).sum(axis=-1)))


def begin(features: int, shape: tuple[int, ...] = ()) -> Wager:
    """Start with a wealth of 1; ``shape``: leading axes, one test each."""
    return Wager(
        0, np.zeros((*shape, features)), np.zeros((*shape, features, features)), np.zeros((*shape, features + 1))
    )


def bet(wager: Wager, new: Floats, old: Floats) -> Wager:
    """Bet on a pair, then learn from it; features of shape [..., features]."""
    difference = new - old
    gains = np.tanh(_scores(wager, difference))
    return Wager(
        wager.pairs + 1,
        wager.total + difference,
        wager.squares + difference[..., :, None] * difference[..., None, :],
        wager.log_wealth + np.log1p(MAX_BET * gains),
    )


def path(new: Floats, old: Floats) -> Floats:
    """Return ``log_e`` after each pair, shape [..., pairs].

    The features have the shape [..., pairs, features].
    """
    wager = begin(new.shape[-1], new.shape[:-2])
    logs = []
    for pair in range(new.shape[-2]):
        wager = bet(wager, new[..., pair, :], old[..., pair, :])
        logs.append(wager.log_e)
    return np.stack(logs, axis=-1) if logs else np.zeros((*new.shape[:-2], 0))


def _scores(wager: Wager, difference: Floats) -> Floats:
    """Return each bettor's ``g(new) - g(old)``.

    It follows from what was learnt before; zeros before the first pair.
    """
    count, features = wager.pairs, wager.features
    if count == 0:
        return np.zeros((*difference.shape[:-1], features + 1))
    mean = wager.total / count
    second = (wager.squares + _PRIOR_PAIRS * _PRIOR_SQUARE * np.eye(features)) / (count + _PRIOR_PAIRS)
    diagonal = np.diagonal(second, axis1=-2, axis2=-1)
    alone = mean / diagonal
    single = alone * _shrinkage(count * mean * alone, 1) * difference
    joint = np.linalg.solve(second, mean[..., None])[..., 0]
    shrunk = _shrinkage(count * (mean * joint).sum(axis=-1), features)
    together = shrunk * (joint * difference).sum(axis=-1)
    return np.concatenate([together[..., None], single], axis=-1)


def _shrinkage(statistic: Floats, features: int) -> Floats:
    """Return the part of an estimated shift that is more than chance.

    Its statistic's expectation without one is ``features``.
    """
    return np.maximum(0.0, 1.0 - features / np.maximum(statistic, 1e-12))
