"""Whether the event algebra's vote adds anything: the combined decision against the live test alone, at the same alpha in all.

The algebra gets half of alpha, shared among the epochs of a stream; the live test then keeps the other half. Events and epochs are those of
``echoplaned.gates.echo.health``; a stream has an alarm where the new version's surplus of drift reaches the threshold in an epoch.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.dtesn.drift import listening, pools, power, streams, variants
from benchmarks.dtesn.drift.variants import VARIANTS
from echoplaned.dtesn import HealthAlgebra
from echoplaned.gates.echo import health, wager
from echoplaned.gates.echo.features import Listener
from echoplaned.gates.echo.live import VOTING

_PAIRS: Final = max(power.COUNTS)
_EPOCHS: Final = _PAIRS // health.EPOCH_PAIRS
_Z: Final = NormalDist().inv_cdf(1.0 - power.ALPHA / 2.0 / _EPOCHS)


def alarmed(new: NDArray[np.float64], old: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which streams have an alarm, from features [streams, pairs, features] of both sides."""
    surplus = (new**2).mean(axis=2) - (old**2).mean(axis=2)
    events = np.where(np.abs(surplus) < health.DRIFT_MARGIN, 0, np.sign(surplus))
    epochs = events[:, : _EPOCHS * health.EPOCH_PAIRS].reshape(len(events), _EPOCHS, -1).sum(axis=2)
    return np.asarray((epochs >= HealthAlgebra.threshold(_Z, health.EPOCH_PAIRS)).any(axis=1))


def measure() -> None:
    """Measure, print and keep."""
    kept, before = {}, listening.features_of(variants.OLD)
    for variant in VARIANTS:
        if variant.name == variants.OLD or not (pools.folder() / f"{variant.name}.npz").exists():
            continue
        told = listening.features_of(variant.name)
        pairs = streams.blocks(variant.name, variants.OLD, _PAIRS, power.REPEATS, by_stratum=False)
        sides = {each: (told[each][pairs[..., 0]], before[each][pairs[..., 1]]) for each in Listener}
        paths = np.stack([wager.path(*sides[each]) for each in VOTING])
        tops = (np.logaddexp.reduce(paths, axis=0) - math.log(len(VOTING))).max(axis=1)
        by_algebra = alarmed(*sides[Listener.RESERVOIR])
        halved = tops >= -math.log(power.ALPHA / 2.0)
        kept[variant.name] = {
            "live_alone": float((tops >= -math.log(power.ALPHA)).mean()),
            "algebra_alone": float(by_algebra.mean()),
            "combined": float((halved | by_algebra).mean()),
        }
        print(f"{variant.title:30} {kept[variant.name]}", flush=True)
    power.keep("vote", {"requests": _PAIRS, "z": _Z, "found": kept})
