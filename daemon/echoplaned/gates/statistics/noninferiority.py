"""The test by which a version is promoted.

Is the new version's error rate less than the old one's plus a margin?

*The bound.* One-sided Clopper-Pearson limits for each version, combined for the difference by the method of Newcombe (1998) and
Zou and Donner (2008, "MOVER"): with rates a, b of new and old, upper limit u of a and lower limit l of b,
``a - b + sqrt((u - a)^2 + (b - l)^2)``. With no error at all it is the new version's own limit: 0 of 300 bounds at 1 % at 95 %.

*Peeking.* The test is repeated with every interval until it passes. The chance of a wrong pass (alpha = 1 - confidence, for the
stage) is spent over the number of errors that the new version has shown: in class j of that number the limits have level
``alpha_j = alpha * 6 / (pi^2 (j + 1)^2)``, which add up to alpha. Up to 8 errors each number is a class: a pass at any time with k
errors implies at most k errors at the first n_k from which k errors pass, so the chance of any wrong pass is at most the sum of the
chances at the n_k, however often one looks. From there on a class spans a factor of 1.5, as in the stitched bounds of Howard et al.
(2021); crossing anywhere in a class rather than at one point costs about 1 % of the distance, which is left out because the sum over
the classes is not tight: summed exactly, a version at the margin passes with 3.7 % where 5 % is allowed. A version without errors pays
little (0 errors need 348 requests for 1 % instead of 299), and nobody waits for a planned look, as with looks at doubling sample
sizes. The old version's limit moves with its own counts; the tests simulate that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from echoplaned.gates.statistics.beta import beta_quantile

_SINGLE_CLASSES = 8
_CLASS_GROWTH = 1.5
_MANY = 1_000_000  # requests at which a binomial limit is a Poisson limit for the purposes of a forecast


@dataclass(frozen=True, slots=True)
class Rate:
    """An error rate as counts.

    Attributes:
        errors: requests that failed, from 0.
        requests: all requests, at least as many as errors.
    """

    errors: int
    requests: int

    @property
    def value(self) -> float:
        """Errors as a fraction of requests; 0 without requests."""
        return self.errors / self.requests if self.requests else 0.0


@lru_cache(maxsize=4096)
def upper_bound(rate: Rate, alpha: float) -> float:
    """Return the Clopper-Pearson upper limit of an error probability.

    It is at confidence ``1 - alpha``; 1 without requests.
    """
    if rate.errors >= rate.requests:
        return 1.0
    if rate.errors == 0:
        return -math.expm1(math.log(alpha) / rate.requests)
    return beta_quantile(1.0 - alpha, rate.errors + 1, rate.requests - rate.errors)


@lru_cache(maxsize=4096)
def lower_bound(rate: Rate, alpha: float) -> float:
    """Return the Clopper-Pearson lower limit of an error probability.

    It is at confidence ``1 - alpha``; 0 without requests.
    """
    if rate.errors == 0:
        return 0.0
    return beta_quantile(alpha, rate.errors, rate.requests - rate.errors + 1)


def difference_upper_bound(new: Rate, old: Rate, alpha: float) -> float:
    """Return the upper limit of new less old error probability.

    It is at confidence ``1 - alpha``, in [-1, 1].
    """
    above = upper_bound(new, alpha) - new.value
    below = old.value - lower_bound(old, alpha)
    return min(1.0, new.value - old.value + math.hypot(above, below))


def level(confidence: float, errors: int) -> float:
    """Return the part of alpha that is spent on a number of errors.

    It is the part of ``1 - confidence`` that is spent on passing with about this many errors of the new version.
    """
    index = errors
    if errors > _SINGLE_CLASSES:
        index = _SINGLE_CLASSES + 1 + int(math.log(errors / _SINGLE_CLASSES) / math.log(_CLASS_GROWTH))
    return (1.0 - confidence) * 6.0 / (math.pi**2 * (index + 1) ** 2)


def least_requests(margin: float, confidence: float) -> int:
    """Return how many requests of the new version without a single error pass."""
    if margin >= 1.0:
        return 1
    return max(1, math.ceil(math.log(level(confidence, 0)) / math.log1p(-margin)))


def requests_at_least(new: Rate, old: Rate, margin: float, confidence: float) -> int:
    """Return a lower estimate of ``requests_forecast`` that costs little.

    It is computed as if the old version's rate were known exactly.
    """
    if new.errors == 0:
        return max(1, math.ceil(least_requests(margin, confidence) * margin / (margin + old.value)))
    return math.ceil(_poisson_upper(new.errors, level(confidence, new.errors)) / (margin + old.value))


@lru_cache(maxsize=1024)
def _poisson_upper(errors: int, alpha: float) -> float:
    return upper_bound(Rate(errors, _MANY), alpha) * _MANY


def requests_forecast(new: Rate, old: Rate, margin: float, confidence: float) -> int:
    """Return about how many requests of the new version would pass.

    That is if it makes no further error and the old one's counts stay.

    The binomial limit is taken as Poisson's, which makes the bound's equation quadratic in 1 / requests.
    """
    if new.errors == 0 and old.errors == 0:
        return least_requests(margin, confidence)
    alpha = level(confidence, new.errors)
    above = _poisson_upper(new.errors, alpha) - new.errors
    below = old.value - lower_bound(old, alpha)
    room = margin + old.value
    # (above x)^2 + below^2 = (room - errors x)^2 with x = 1 / requests; below < room, so there is one positive root.
    a = above**2 - new.errors**2
    b = 2.0 * room * new.errors
    c = below**2 - room**2
    root = math.sqrt(max(0.0, b * b - 4.0 * a * c))
    x = -2.0 * c / (b + root)  # the form that does not cancel, also for a = 0
    return max(1, math.ceil(1.0 / x))
