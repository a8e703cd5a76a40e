"""Bets on matched pairs: equal versions seldom make rich, different ones do."""

from __future__ import annotations

import math

import numpy as np

from echoplaned.gates.echo import wager

LOG_500 = math.log(500.0)


def drawn(seed: int, runs: int, pairs: int, features: int) -> np.ndarray:
    """Draw features of requests, shape (runs, pairs, features); heavy-tailed, and each depends on the one before."""
    rng = np.random.default_rng(seed)
    values = rng.standard_t(3.0, (runs, pairs, features))
    return np.clip(values, -5.0, 5.0)


def test_equal_versions_do_not_make_rich() -> None:
    """Of 400 tests of 300 pairs of equal versions at most 5 % ever reach 20, and next to none 500."""
    walked = wager.path(drawn(0, 400, 300, 5), drawn(1, 400, 300, 5))
    assert (walked.max(axis=1) >= math.log(20.0)).mean() <= 0.05
    assert (walked.max(axis=1) >= LOG_500).sum() <= 2


def test_a_shift_of_one_feature_is_found() -> None:
    """A shift of one spread in one of five features is found within 200 pairs."""
    new = drawn(2, 20, 200, 5)
    new[..., 3] += 1.5
    assert (wager.path(new, drawn(3, 20, 200, 5)).max(axis=1) >= LOG_500).all()


def test_it_is_the_same_one_by_one() -> None:
    """Pair by pair and test by test gives what all together give."""
    new, old = drawn(4, 3, 20, 2), drawn(5, 3, 20, 2)
    together = wager.path(new, old)
    one = wager.begin(2)
    for pair in range(20):
        one = wager.bet(one, new[1, pair], old[1, pair])
    assert one.pairs == 20
    assert abs(float(one.log_e) - together[1, -1]) < 1e-12


def test_the_first_pair_changes_nothing() -> None:
    """Before anything was learnt nothing is bet."""
    one = wager.bet(wager.begin(3), np.ones(3), -np.ones(3))
    assert abs(float(one.log_e)) < 1e-12
