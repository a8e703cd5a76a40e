"""What golden texts show against the margin, and each variant's true KL a token."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.dtesn.drift import listening, power, probes, variants
from benchmarks.dtesn.drift.probes import PROBED, Probes
from echoplaned.gates.echo import bounded
from echoplaned.gates.echo.features import Listener
from echoplaned.gates.echo.paired import DistanceMeasure, PairedTest

MARGIN_OF: Final = "int8"
MARGIN_FACTOR: Final = 3.0
"""Of the KL divergence; the absolute difference of log-probabilities goes with its root, squared features with itself."""
PASS_ALPHA: Final = 0.05


@dataclass(frozen=True, slots=True)
class Golden:
    """Parts of the repeats that were beyond the margin (a FAIL) or within it (a PASS) after ``texts`` texts; the rest hold."""

    variant: str
    test: str
    texts: int
    beyond: float
    within: float
    error: float
    repeats: int


def distances(new: Probes, old: Probes) -> dict[str, list[NDArray[np.float64]]]:
    """Return each test's distances of every text: by token for KL and log-probability, one a text for features."""
    ends = [int(np.isfinite(row).sum()) for row in new.kl]
    found = {
        "KL": [row[:end].astype(np.float64) for row, end in zip(new.kl, ends, strict=True)],
        "LOG_PROBABILITY": [
            np.abs(a[:end] - b[:end]).astype(np.float64)
            for a, b, end in zip(new.log_probability, old.log_probability, ends, strict=True)
        ],
    }
    sides = [listening.sequences(side.log_probability, side.entropy) for side in (new, old)]
    for listener in (Listener.RESERVOIR, Listener.AR4, Listener.MOMENTS):
        first, second = (listening.model().matrix(side, listener) for side in sides)
        found[f"{listener.value} features"] = list(((first - second) ** 2).mean(axis=1, keepdims=True))
    return found


def decided(
    told: list[NDArray[np.float64]], margin: float, measure: DistanceMeasure
) -> list[tuple[int, float, float, int]]:
    """Return, for each number of texts, the parts beyond and within the margin, and the repeats."""
    rng, asked = np.random.default_rng(9), PairedTest(measure, margin, power.ALPHA / 2.0, PASS_ALPHA)
    rows = []
    for count in (each for each in power.COUNTS if each <= len(told)):
        order = np.concatenate([rng.permutation(len(told))[: len(told) // count * count] for _ in range(power.REPEATS)])
        draws = order.reshape(-1, count)[: power.REPEATS]
        values = [np.clip(np.concatenate([told[at] for at in draw]), 0.0, asked.ceiling) for draw in draws]
        above = [bounded.log_e_above(each, margin) >= -math.log(asked.alpha) for each in values]
        below = [bounded.log_e_below(each, margin, asked.ceiling) >= -math.log(asked.pass_alpha) for each in values]
        rows.append((count, float(np.mean(above)), float(np.mean(below)), len(draws)))
    return rows


def measure() -> None:
    """DistanceMeasure, print and keep."""
    old, reference = probes.load(variants.OLD), probes.load(MARGIN_OF)
    factors = {"LOG_PROBABILITY": math.sqrt(MARGIN_FACTOR)}
    margins = {
        test: factors.get(test, MARGIN_FACTOR) * float(np.concatenate(told).mean())
        for test, told in distances(reference, old).items()
    }
    kls, rows = {}, []
    for variant in PROBED:
        new = probes.load(variant.name)
        kls[variant.name] = facts(new)
        print(f"{variant.title:30} KL a token {kls[variant.name]}", flush=True)
        for test, told in distances(new, old).items():
            kind = {"KL": DistanceMeasure.KL, "LOG_PROBABILITY": DistanceMeasure.LOG_PROBABILITY}.get(
                test, DistanceMeasure.COSINE
            )
            for count, beyond, within, repeats in decided(told, margins[test], kind):
                disjoint = min(repeats, len(told) // count)
                middle = (beyond * disjoint + 2.0) / (disjoint + 4.0)
                error = math.sqrt(middle * (1.0 - middle) / (disjoint + 4.0))
                rows.append(Golden(variant.name, test, count, beyond, within, error, repeats))
            print(
                f"  {test:20} "
                + "  ".join(f"{r.texts}: {r.beyond:.2f}/{r.within:.2f}" for r in rows[-4:] if r.test == test)
            )
    power.keep("kl_nats_a_token", kls)
    power.keep("golden", {"margins": margins, "rows": [asdict(row) for row in rows]})


def facts(new: Probes) -> dict[str, float | None]:
    """Return the mean KL a token with its standard error over texts: of the model's distribution, and of the served ones both ways."""
    by_text = np.nanmean(new.kl, axis=1)
    served, back = float(new.served_kl.mean()), float(new.served_kl_back.mean())
    return {
        "own": float(np.nanmean(new.kl)),
        "own_error": float(by_text.std() / math.sqrt(len(by_text))),
        "served_from_old": served if math.isfinite(served) else None,
        "old_from_served": back if math.isfinite(back) else None,
        "texts": len(by_text),
    }
