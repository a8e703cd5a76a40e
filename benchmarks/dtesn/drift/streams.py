"""Matched pairs drawn from the pools: one request of each version, of one stratum, none of them twice within a stream."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.dtesn.drift import pools
from benchmarks.dtesn.drift.listening import CALIBRATED_ON
from benchmarks.dtesn.drift.pools import Pool


def matched(new: Pool, old: Pool, rng: np.random.Generator, *, by_stratum: bool) -> NDArray[np.int64]:
    """Pair all requests of two pools once, in a random order: [pairs, 2], indices of new and old.

    ``by_stratum``: within kinds of prompt and classes of asked length; else anything with anything, as where neither is known.
    """
    pairs = []
    strata = range(new.stratum.max() + 1) if by_stratum else (None,)
    for stratum in strata:
        first = _members(new, stratum)
        second = _members(old, stratum)
        second = second[second >= CALIBRATED_ON]
        count = min(len(first), len(second))
        pairs.append(np.stack([rng.permutation(first)[:count], rng.permutation(second)[:count]], axis=1))
    return rng.permutation(np.concatenate(pairs))


def blocks(new: str, old: str, length: int, repeats: int, *, by_stratum: bool) -> NDArray[np.int64]:
    """Return streams of ``length`` pairs, [repeats, length, 2]: disjoint as long as the pool lasts, then from another pairing of it."""
    rng = np.random.default_rng([7, length, int(by_stratum)])
    first, second = pools.load(new), pools.load(old)
    found: list[NDArray[np.int64]] = []
    while len(found) < repeats:
        pairs = matched(first, second, rng, by_stratum=by_stratum)
        found.extend(pairs[: len(pairs) // length * length].reshape(-1, length, 2))
    return np.stack(found[:repeats])


def _members(pool: Pool, stratum: int | None) -> NDArray[np.int64]:
    return np.arange(len(pool)) if stratum is None else np.flatnonzero(pool.stratum == stratum)
