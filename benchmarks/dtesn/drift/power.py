"""How often the live test sees each change, by listener and number of requests; each figure with its standard error."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.dtesn.drift import listening, pools, streams, variants
from benchmarks.dtesn.drift.variants import VARIANTS, Variant
from benchmarks.reporting import RESULTS
from echoplaned.gates.echo import wager
from echoplaned.gates.echo.features import Listener
from echoplaned.gates.echo.live import VOTING

COUNTS: Final = (10, 50, 200, 1000)
REPEATS: Final = 200
ALPHA: Final = 0.002


@dataclass(frozen=True, slots=True)
class Power:
    """Part of the streams that a test told apart within ``requests`` of the new version.

    ``error``: the standard error, counting only draws that share no request: ``repeats`` or as many as the pool holds, if fewer.
    """

    variant: str
    test: str
    by_stratum: bool
    requests: int
    found: float
    error: float
    repeats: int


def live(variant: Variant, *, by_stratum: bool) -> list[Power]:
    """Run the betting test of every listener, and of their average as the gate has it, on the same streams."""
    told, before = listening.features_of(variant.name), listening.features_of(variants.OLD)
    pairs = streams.blocks(variant.name, variants.OLD, max(COUNTS), REPEATS, by_stratum=by_stratum)
    paths = {each: wager.path(told[each][pairs[..., 0]], before[each][pairs[..., 1]]) for each in Listener}
    voting = np.stack([paths[each] for each in VOTING])
    together = np.logaddexp.reduce(voting, axis=0) - math.log(len(VOTING))
    tests = {**{each.value: path for each, path in paths.items()}, "AVERAGE": together}
    held = len(pools.load(variant.name))
    return [
        row(variant, test, path, count, held, by_stratum=by_stratum) for test, path in tests.items() for count in COUNTS
    ]


def row(variant: Variant, test: str, path: NDArray[np.float64], count: int, held: int, *, by_stratum: bool) -> Power:
    """Count the streams whose e-value reached its threshold within ``count`` pairs."""
    found = float((path[:, :count].max(axis=1) >= -math.log(ALPHA)).mean())
    disjoint = min(len(path), held // count)
    # One more success and failure each (Agresti and Coull): an error of 0 beside 0 of 20 would say too much.
    middle = (found * disjoint + 2.0) / (disjoint + 4.0)
    return Power(
        variant.name, test, by_stratum, count, found, math.sqrt(middle * (1 - middle) / (disjoint + 4)), len(path)
    )


def measure() -> None:
    """Measure what has a pool, print the tables and keep them."""
    rows: list[Power] = []
    for variant in VARIANTS:
        if variant.name == variants.OLD or not (pools.folder() / f"{variant.name}.npz").exists():
            continue
        for by_stratum in (True, False):
            found = live(variant, by_stratum=by_stratum)
            rows += found
            for test in dict.fromkeys(each.test for each in found):
                values = "  ".join(f"{p.found:4.2f} ± {p.error:4.2f}" for p in found if p.test == test)
                print(f"{variant.title:30} {'strata' if by_stratum else 'mixed':6} {test:15} {values}", flush=True)
    keep("live", [asdict(each) for each in rows])


def keep(part: str, content: object) -> None:
    """Put one part into ``results/drift.json``, beside the others; a row of a table is a line."""
    path = RESULTS / "drift.json"
    whole = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    parts = (f"{json.dumps(name)}: {_lines(value)}" for name, value in {**whole, part: content}.items())
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def _lines(value: object) -> str:
    if isinstance(value, list):
        return "[\n " + ",\n ".join(json.dumps(each) for each in value) + "\n]"
    if isinstance(value, dict) and any(isinstance(each, dict | list) for each in value.values()):
        return "{\n" + ",\n".join(f" {json.dumps(name)}: {_lines(each)}" for name, each in value.items()) + "\n}"
    return json.dumps(value)
