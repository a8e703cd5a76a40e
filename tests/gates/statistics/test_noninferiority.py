"""The margin test: exact limits, their combination, and repeated looks."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echoplaned.gates.statistics.beta import beta_cdf, beta_quantile
from echoplaned.gates.statistics.noninferiority import (
    Rate,
    difference_upper_bound,
    least_requests,
    level,
    lower_bound,
    requests_at_least,
    requests_forecast,
    upper_bound,
)


@pytest.mark.parametrize(
    ("q", "a", "b", "expected"),
    [
        # SciPy 1.17, scipy.stats.beta.ppf
        (0.95, 1, 300, 0.009936081944457708),
        (0.95, 3, 298, 0.020836230527024657),
        (0.001, 7, 994, 0.0015237525531233294),
        (0.999, 7, 994, 0.01795299339501456),
        (0.5, 0.5, 0.5, 0.5),
        (0.999999, 61, 940, 0.10315225204174726),
    ],
)
def test_quantiles_agree_with_a_reference(q: float, a: float, b: float, expected: float) -> None:
    """Beta quantiles agree with SciPy's."""
    assert beta_quantile(q, a, b) == pytest.approx(expected, rel=1e-9)


@settings(deadline=None, max_examples=200)
@given(
    q=st.floats(1e-9, 1 - 1e-9),
    errors=st.integers(0, 2000),
    more=st.integers(1, 200_000),
)
def test_a_quantile_is_the_inverse_of_the_distribution(q: float, errors: int, more: int) -> None:
    """The distribution at a quantile is the probability that was asked for, over the whole range that limits use."""
    x = beta_quantile(q, errors + 1, more)
    assert 0.0 < x < 1.0
    assert beta_cdf(x, errors + 1, more) == pytest.approx(q, rel=1e-7, abs=1e-9)


def test_a_limit_leaves_just_its_level_of_the_binomial() -> None:
    """At the upper limit, as few errors as were seen have exactly the chance alpha (summed term by term)."""
    limit = upper_bound(Rate(3, 200), 0.05)
    chance = math.fsum(math.comb(200, k) * limit**k * (1 - limit) ** (200 - k) for k in range(4))
    assert chance == pytest.approx(0.05, rel=1e-9)
    low = lower_bound(Rate(3, 200), 0.05)
    chance = 1 - math.fsum(math.comb(200, k) * low**k * (1 - low) ** (200 - k) for k in range(3))
    assert chance == pytest.approx(0.05, rel=1e-9)


def test_no_error_in_300_requests_bounds_at_one_percent() -> None:
    """The rule of three: 0 of 300 is at most 1 % at 95 %, for the difference too."""
    assert upper_bound(Rate(0, 300), 0.05) == pytest.approx(0.00994, abs=1e-5)
    assert difference_upper_bound(Rate(0, 300), Rate(0, 5000), 0.05) == pytest.approx(0.00994, abs=1e-5)


def test_nothing_known_bounds_nothing() -> None:
    """Without requests, or with errors only, the bound is 1."""
    assert upper_bound(Rate(0, 0), 0.05) == 1.0
    assert upper_bound(Rate(7, 7), 0.05) == 1.0
    assert lower_bound(Rate(0, 0), 0.05) == 0.0
    assert difference_upper_bound(Rate(0, 0), Rate(0, 0), 0.05) == 1.0


def test_the_spent_levels_add_up_to_the_whole() -> None:
    """The distinct levels for 0, 1, 2, ... errors add up to no more than what the confidence leaves, and fall slowly."""
    levels = [level(0.95, k) for k in range(100_000)]
    assert levels == sorted(levels, reverse=True)
    assert 0.045 < math.fsum(set(levels)) <= 0.05
    assert levels[10_000] > 1e-5


def test_forecasts_are_near_the_first_count_that_passes() -> None:
    """The forecast, and its cheap lower estimate, are near the exact first number of requests that passes."""
    old = Rate(20, 4000)
    for errors in (0, 1, 3, 8):
        alpha = level(0.95, errors)
        exact = next(n for n in range(20, 20_000) if difference_upper_bound(Rate(errors, n), old, alpha) < 0.02)
        forecast = requests_forecast(Rate(errors, 1), old, 0.02, 0.95)
        assert forecast == pytest.approx(exact, rel=0.05)
        assert requests_at_least(Rate(errors, 1), old, 0.02, 0.95) <= 1.05 * exact


def test_uncertainty_of_the_old_version_asks_for_more_requests() -> None:
    """The same rate of the old version known from fewer requests asks for more of the new one's."""
    sure = requests_forecast(Rate(2, 10), Rate(100, 10_000), 0.02, 0.95)
    assert requests_forecast(Rate(2, 10), Rate(1, 100), 0.02, 0.95) > sure > 0
    assert requests_forecast(Rate(500, 10_000), Rate(500, 10_000), 0.02, 0.95) > 0


def test_least_requests_just_pass() -> None:
    """The least number of requests without an error passes, one less does not."""
    n = least_requests(0.02, 0.95)
    assert upper_bound(Rate(0, n), level(0.95, 0)) <= 0.02 < upper_bound(Rate(0, n - 1), level(0.95, 0))
    assert least_requests(1.0, 0.95) == 1


def _chance_of_a_wrong_pass(margin: float, most: int) -> float:
    """Sum exactly over all paths of errors (old version: none) the chance that a version at the margin ever passes."""
    first: list[int] = []
    n = 1
    while n <= most:
        errors = len(first)
        while n <= most and upper_bound(Rate(errors, max(n, errors + 1)), level(0.95, errors)) >= margin:
            n += 1
        first.append(n)
    chance = [0.0] * (len(first) + 1)
    chance[0] = 1.0
    passed = 0.0
    for n in range(1, most + 1):
        for k in range(len(first), -1, -1):
            chance[k] = chance[k] * (1 - margin) + (chance[k - 1] * margin if k else 0.0)
            if k < len(first) and n >= first[k]:
                passed += chance[k]
                chance[k] = 0.0
    return passed


def test_the_chance_of_a_wrong_pass_is_within_the_confidence() -> None:
    """Summed exactly over 800 requests with a look after each, a version at a margin of 5 % passes with at most 5 %."""
    assert 0.03 < _chance_of_a_wrong_pass(0.05, 800) <= 0.05


def _passes_wrongly(random: Random, old_rate: float, margin: float, share: float, most: int) -> bool:
    """Look after each request of a version that is just at the margin; say whether it ever passes."""
    new_errors = old_errors = old_requests = 0
    for n in range(1, most):
        new_errors += random.random() < old_rate + margin
        for _ in range(round((1 - share) / share)):
            old_requests += 1
            old_errors += random.random() < old_rate
        new, old = Rate(new_errors, n), Rate(old_errors, old_requests)
        if n < 0.9 * requests_at_least(new, old, margin, 0.95):
            continue
        if difference_upper_bound(new, old, level(0.95, new_errors)) < margin:
            return True
    return False


@pytest.mark.parametrize(("old_rate", "margin", "share"), [(0.0, 0.05, 0.5), (0.01, 0.05, 0.2), (0.05, 0.05, 0.5)])
def test_looking_after_every_request_keeps_the_confidence(old_rate: float, margin: float, share: float) -> None:
    """A version at the margin passes in no more of 200 seeded runs than 5 % explains, though looked at after each request.

    18 is the binomial's 99th percentile.
    """
    random = Random(7)
    wrong = sum(_passes_wrongly(random, old_rate, margin, share, 500) for _ in range(200))
    assert wrong <= 18
