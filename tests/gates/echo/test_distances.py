"""Distances between two versions on one text."""

from __future__ import annotations

import math

import numpy as np

from echoplaned.gates.echo import distances


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return log-probabilities by row."""
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def test_kl_of_equal_distributions_is_zero() -> None:
    """Identical distributions are exactly 0 apart, others by the sum that defines the divergence."""
    old = log_softmax(np.array([[0.0, 1.0, 2.0], [3.0, 0.0, 0.0]]))
    new = log_softmax(np.array([[0.5, 1.0, 2.0], [3.0, 0.0, 0.0]]))
    assert distances.token_kl(old, old).tolist() == [0.0, 0.0]
    kl = distances.token_kl(old, new)
    assert abs(kl[0] - (np.exp(old[0]) * (old[0] - new[0])).sum()) < 1e-12
    assert kl[1] == 0.0


def test_kl_survives_16_bits() -> None:
    """Log-probabilities that travelled in 16 bits give a small divergence to within a millionth of a nat."""
    rng = np.random.default_rng(0)
    old = log_softmax(3.0 * rng.standard_normal((20, 500)))
    new = log_softmax(old + 0.02 * rng.standard_normal(old.shape))
    exact = distances.token_kl(old, new).mean()
    rounded = distances.token_kl(old.astype(np.float16), new.astype(np.float16)).mean()
    assert 1e-4 < exact < 3e-4
    assert abs(rounded - exact) < 5e-6


def test_an_excluded_token_is_infinitely_far() -> None:
    """What only the new version excludes is infinite; what only the old one excludes is not."""
    certain = np.array([[0.0, -np.inf]])
    even = np.log(np.array([[0.5, 0.5]]))
    assert math.isinf(distances.token_kl(even, certain)[0])
    assert abs(distances.token_kl(certain, even)[0] - math.log(2.0)) < 1e-12


def test_difference_goes_with_kl() -> None:
    """For a small normal change of the logits the mean absolute difference is near what goes with the divergence."""
    rng = np.random.default_rng(0)
    old = log_softmax(rng.standard_normal((400, 200)))
    new = log_softmax(old + 0.05 * rng.standard_normal(old.shape))
    kl = float(distances.token_kl(old, new).mean())
    chosen = np.array([rng.choice(200, p=np.exp(row)) for row in old])
    rows = np.arange(len(chosen))
    seen = distances.token_difference(old[rows, chosen], new[rows, chosen]).mean()
    assert abs(seen / distances.difference_of_kl(kl) - 1.0) < 0.1


def test_cosine_distance() -> None:
    """Equal directions are 0 apart, opposite ones 2; a vector without a direction has no distance."""
    assert distances.cosine_distance([1.0, 2.0], [2.0, 4.0]) < 1e-15
    assert abs(distances.cosine_distance([1.0, 0.0], [-1.0, 0.0]) - 2.0) < 1e-12
    assert math.isnan(distances.cosine_distance([0.0, 0.0], [1.0, 0.0]))
    assert math.isnan(distances.cosine_distance([1.0, 0.0], [math.nan, 0.0]))
    assert math.isnan(distances.cosine_distance([1.0, 0.0], [1.0]))


def test_class_kl() -> None:
    """Logits that differ by a constant are the same classes; others are not."""
    assert abs(distances.class_kl([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])) < 1e-15
    assert distances.class_kl([5.0, 0.0], [0.0, 5.0]) > 4.0
