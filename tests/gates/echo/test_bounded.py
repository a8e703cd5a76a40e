"""The mean of bounded values: limits that hold at any time, and e-values on either side of a margin."""

from __future__ import annotations

import math

import numpy as np
import pytest

from echoplaned.gates.echo import bounded

CEILING = 10.0


def drawn(mean: float, count: int, seed: int = 0) -> np.ndarray:
    """Return exponential values, clipped at the ceiling."""
    return np.minimum(np.random.default_rng(seed).exponential(mean, count), CEILING)


def test_limits_hold_the_mean() -> None:
    """Both limits enclose the sample's mean and come nearer with more values."""
    few, many = drawn(1.0, 100), drawn(1.0, 2000)
    for values in (few, many):
        lower, upper = bounded.lower_limit(values, 0.01), bounded.upper_limit(values, 0.01, CEILING)
        assert 0.0 < lower < values.mean() < upper < CEILING
    assert bounded.upper_limit(many, 0.01, CEILING) < bounded.upper_limit(few, 0.01, CEILING)
    assert bounded.lower_limit(many, 0.01) > bounded.lower_limit(few, 0.01)


def test_limits_agree_with_the_e_values() -> None:
    """A margin is refuted exactly where it is beyond the limit."""
    values = drawn(1.0, 300)
    lower = bounded.lower_limit(values, 0.02)
    assert bounded.log_e_above(values, lower * 0.999) >= -math.log(0.02)
    assert bounded.log_e_above(values, lower * 1.001) < -math.log(0.02)
    upper = bounded.upper_limit(values, 0.02, CEILING)
    assert bounded.log_e_below(values, upper * 1.001, CEILING) >= -math.log(0.02)
    assert bounded.log_e_below(values, upper * 0.999, CEILING) < -math.log(0.02)


def test_no_values_say_nothing() -> None:
    """Without values the limits are those of the range, and no e-value moves."""
    assert bounded.lower_limit([], 0.05) == 0.0
    assert bounded.upper_limit([], 0.05, CEILING) == CEILING
    assert bounded.log_e_above([], 1.0) == 0.0
    assert bounded.log_e_below([], 1.0, CEILING) == 0.0


@pytest.mark.parametrize("mean", [1.0, 0.2])
def test_a_mean_at_the_margin_is_rarely_refuted(mean: float) -> None:
    """With the mean at the margin, the e-value ever reaches 20 in at most 5 % of the runs, looked at after every value."""
    rng = np.random.default_rng(7)
    runs, fired = 400, 0
    for _ in range(runs):
        # A value of the margin's mean that is 0 or the ceiling: the hardest case for a bounded mean.
        values = np.where(rng.random(200) < mean / CEILING, CEILING, 0.0)
        ratios = np.log1p(bounded._PARTS[:, None] * (values / mean - 1.0)).cumsum(axis=1)
        fired += bool((np.exp(ratios).mean(axis=0) >= 20.0).any())
    assert fired <= 0.05 * runs
