"""What bounded values say of their mean, at any time.

It is e-values on either side of a margin, and confidence limits.

A gambler who doubts "the mean is at most m" multiplies his capital by ``1 - g + g x / m`` for each value x >= 0. Where each value's
mean, given those before it, is at most m, the factor's expectation is at most 1 for every g in [0, 1], so the capital is an e-process and
is ever at least 1/alpha with a probability of at most alpha (Ville). The other side bets on ``(ceiling - x) / (ceiling - m)`` in the same
way. The capital is spread over several g once and for all, as the best one is not known beforehand. All m that are not refuted at
1/alpha form a confidence sequence (Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", Journal of the
Royal Statistical Society B 86, 2024; the spread over g: Orabona and Jun, "Tight concentrations and confidence sequences from the regret
of universal portfolio", 2021).

Nothing is assumed of how the values depend on each other but what is said above: what is tested is the average of each value's mean given
the values before it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

_PARTS = np.array([0.01, 0.03, 0.1, 0.2, 0.4, 0.7, 0.95])
"""Parts of the capital that are bet; 1 is left out, as one value of 0 would end it."""

_HALVINGS = 60


def log_e_above(values: ArrayLike, margin: float) -> float:
    """Return the logarithm of the e-value against "at most the margin".

    The null hypothesis is "the mean is at most ``margin``"; values from 0, margin above 0.
    """
    return _log_capital(np.asarray(values, dtype=np.float64) / margin)


def log_e_below(values: ArrayLike, margin: float, ceiling: float) -> float:
    """Return the logarithm of the e-value against "at least the margin".

    The null hypothesis is "the mean is at least ``margin``"; values in [0, ceiling], margin below it.
    """
    return _log_capital((ceiling - np.asarray(values, dtype=np.float64)) / (ceiling - margin))


def lower_limit(values: ArrayLike, alpha: float) -> float:
    """Return the lower confidence limit of the mean, from 0.

    It is at confidence ``1 - alpha``; 0 without values.
    """
    given = np.asarray(values, dtype=np.float64)
    return _last_refuted(0.0, float(given.max(initial=0.0)), lambda m: log_e_above(given, m), alpha)


def upper_limit(values: ArrayLike, alpha: float, ceiling: float) -> float:
    """Return the upper confidence limit of the mean, at most ``ceiling``.

    It is at confidence ``1 - alpha``; ``ceiling`` without values.
    """
    given = np.asarray(values, dtype=np.float64)
    return _last_refuted(ceiling, 0.0, lambda m: log_e_below(given, m, ceiling), alpha)


def _log_capital(ratios: NDArray[np.float64]) -> float:
    """Return the logarithm of the capital, averaged over the parts.

    It is the capital after values in units of the margin's distance from 0.
    """
    logs = np.log1p(_PARTS[:, None] * (ratios.reshape(1, -1) - 1.0)).sum(axis=1)
    top = float(logs.max())
    return top + math.log(float(np.exp(logs - top).mean()))


def _last_refuted(end: float, inside: float, log_e: Callable[[float], float], alpha: float) -> float:
    """Return the refuted mean that is nearest to one that is not refuted.

    It bisects between ``end``, beyond which nothing can be, and a value that is not refuted; the e-value falls from the
    one to the other.
    """
    threshold = -math.log(alpha)
    refuted, kept = end, inside
    for _ in range(_HALVINGS):
        middle = 0.5 * (refuted + kept)
        if middle in {refuted, kept}:
            break
        if log_e(middle) >= threshold:
            refuted = middle
        else:
            kept = middle
    return refuted
