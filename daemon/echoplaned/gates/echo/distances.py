"""Distances between two versions' answers to one text.

They are by token for language models, by output for embeddings and classifiers.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def token_kl(old: ArrayLike, new: ArrayLike) -> Floats:
    """Return the KL divergence of the versions at each token, in nats.

    It is that of the new version's distribution from the old one's.

    Summed as ``p ln(p / q) - p + q``: no term is negative, and log-probabilities that travelled in 16 bits, whose sums are not quite 1,
    change it in second order only.

    Args:
        old: log-probabilities, shape (tokens, vocabulary).
        new: the same for the new version; what only it excludes is infinitely far.
    """
    p, q = np.asarray(old, dtype=np.float64), np.asarray(new, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        terms = np.where(np.isneginf(p), 0.0, np.exp(p) * (p - q)) - np.exp(p) + np.exp(q)
    total: Floats = np.maximum(terms, 0.0).sum(axis=-1)
    return total


def token_difference(old: ArrayLike, new: ArrayLike) -> Floats:
    """Return each token's absolute difference of log-probabilities.

    It is in nats; shape (tokens,) in and out.
    """
    with np.errstate(invalid="ignore"):
        return np.abs(np.asarray(new, dtype=np.float64) - np.asarray(old, dtype=np.float64))


def difference_of_kl(kl_nats: float) -> float:
    """Return the log-probability difference that goes with a KL divergence.

    It is the mean absolute difference, in nats.

    To second order the KL divergence is half the variance of the log-probabilities' difference; of a normal difference with variance
    ``2 kl`` the mean absolute value is ``sqrt(4 kl / pi)``.
    """
    return math.sqrt(4.0 * kl_nats / math.pi)


def cosine_distance(old: ArrayLike, new: ArrayLike) -> float:
    """Return one less the cosine of two vectors, in [0, 2].

    It is NaN where one of them is zero or not finite, or where their lengths differ.
    """
    a, b = np.asarray(old, dtype=np.float64).ravel(), np.asarray(new, dtype=np.float64).ravel()
    if a.size != b.size:
        return math.nan
    with np.errstate(invalid="ignore", over="ignore"):
        length = math.sqrt(float(a @ a)) * math.sqrt(float(b @ b))
        if not length > 0.0 or not math.isfinite(length):
            return math.nan
        # Half the squared distance of unit vectors: 1 - cos would lose what is below 1e-16.
        apart = a / math.sqrt(float(a @ a)) - b / math.sqrt(float(b @ b))
    return float(0.5 * (apart @ apart))


def class_kl(old: ArrayLike, new: ArrayLike) -> float:
    """Return the KL divergence of the versions' class probabilities, in nats.

    It is that of the new version's from the old one's, both given as logits.
    """
    return float(token_kl(_log_softmax(old)[None, :], _log_softmax(new)[None, :])[0])


def _log_softmax(logits: ArrayLike) -> Floats:
    values = np.asarray(logits, dtype=np.float64).ravel()
    shifted = values - float(values.max())
    normed: Floats = shifted - math.log(float(np.exp(shifted).sum()))
    return normed
