"""Quantiles of the beta distribution, for Clopper-Pearson limits.

SciPy would be 100 MB for this one function.
"""

from __future__ import annotations

import math

_TINY = 1e-300
_PRECISION = 1e-15


def _continued_fraction(x: float, a: float, b: float) -> float:
    """Evaluate the continued fraction of DLMF 8.17.22 by Lentz's method.

    It converges fast for x < (a + 1) / (a + b + 2).
    """
    steps = 200 + int(20.0 * math.sqrt(max(a, b)))
    c, d = 1.0, 1.0 / _away_from_zero(1.0 - (a + b) * x / (a + 1.0))
    value = d
    for m in range(1, steps):
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        change = 1.0
        for term in (even, odd):
            d = 1.0 / _away_from_zero(1.0 + term * d)
            c = _away_from_zero(1.0 + term / c)
            change = c * d
            value *= change
        if abs(change - 1.0) < _PRECISION:
            break
    return value


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def _log_density(x: float, a: float, b: float) -> float:
    """Return ``ln(x^a (1 - x)^b / B(a, b))``: the density times x (1 - x)."""
    log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    return a * math.log(x) + b * math.log1p(-x) - log_beta


def beta_cdf(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b) for positive a, b."""
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    front = math.exp(_log_density(x, a, b))
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _continued_fraction(x, a, b) / a
    return 1.0 - front * _continued_fraction(1.0 - x, b, a) / b


def beta_quantile(q: float, a: float, b: float) -> float:
    """Return x with I_x(a, b) = q, for q in (0, 1) and positive a, b.

    It is found by Newton steps, halved where they leave the bracket.
    """
    low, high = 0.0, 1.0
    x = a / (a + b)
    for _ in range(200):
        error = beta_cdf(x, a, b) - q
        if error > 0.0:
            high = x
        else:
            low = x
        slope = math.exp(min(700.0, _log_density(x, a, b))) / (x * (1.0 - x))
        after = x - error / slope if slope > 0.0 else low
        if not low < after < high:
            after = 0.5 * (low + high)
        if abs(after - x) <= 1e-13 * x:
            return after
        x = after
    return x
