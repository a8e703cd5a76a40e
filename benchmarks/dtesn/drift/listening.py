"""The gate's own features of every pooled request, fitted on requests of the old version that enter no test; kept in the cache."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.dtesn.drift import pools, train, variants
from benchmarks.dtesn.drift.pools import Pool
from echoplaned.gates.echo import features
from echoplaned.gates.echo.features import FeatureModel, Listener, Network
from echoplaned.gates.echo.live import CALIBRATION_WANTED
from echoplaned.gates.echo.sequences import AnswerSequence

Features = dict[Listener, NDArray[np.float64]]
CALIBRATED_ON: Final = CALIBRATION_WANTED
"""The first requests of the old version's pool; no test draws them."""


def sequences(log_probability: NDArray[np.float32], entropy: NDArray[np.float32]) -> tuple[AnswerSequence, ...]:
    """Return requests as the gate sees them, from arrays [requests, tokens] with NaN behind each end."""
    lengths = np.isfinite(log_probability).sum(axis=1)
    tokens = np.stack([log_probability, entropy], axis=2)
    return tuple(AnswerSequence(row[:length], np.ones(length)) for row, length in zip(tokens, lengths, strict=True))


def of_pool(pool: Pool) -> tuple[AnswerSequence, ...]:
    """Return a pool's requests as the gate sees them."""
    return sequences(pool.log_probability, pool.entropy)


@functools.cache
def model() -> FeatureModel:
    """Return the listeners, fitted on the old version's first requests."""
    fitted = features.fit(of_pool(pools.load(variants.OLD))[:CALIBRATED_ON], Network())
    assert fitted is not None
    return fitted


def features_of(name: str) -> Features:
    """Return every listener's features of a variant's pool, [requests, features]."""
    path = train.checkpoint_folder() / f"features-{_digest()}" / f"{name}.npz"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        told = of_pool(pools.load(name))
        found = {listener.value: model().matrix(told, listener) for listener in Listener}
        np.savez(path.with_suffix(".new.npz"), **found)
        path.with_suffix(".new.npz").replace(path)
    with np.load(path) as stored:
        return {listener: stored[listener.value] for listener in Listener}


@functools.cache
def _digest() -> str:
    """Return what the features follow from besides the pools: how they are made, and the reservoir that the native module draws."""
    told = hashlib.sha256(ast.dump(ast.parse(inspect.getsource(features))).encode())
    told.update(model().matrix(of_pool(pools.load(variants.OLD))[:1], Listener.RESERVOIR).tobytes())
    return told.hexdigest()[:8]
