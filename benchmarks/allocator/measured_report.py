"""The figures of measured runs: error before and after calibration, split by model; coverage and width of the upper bound.

Run: ``python -m benchmarks.allocator.measured_report RUNS.jsonl``; writes ``benchmarks/results/allocator-measured.json`` and a plot
for each setting of the heap.
"""

from __future__ import annotations

import json
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from scipy import stats

from benchmarks.reporting import RESULTS
from echoplaned import _allocator
from echoplaned.core.calibration import MemorySample
from echoplaned.planning.calibration import BESIDE, TEMPORARY, WEIGHTS

mpl.use("svg")
from matplotlib import pyplot as plt

_FLOOR_BYTES: Final = 16 * 1024 * 1024
_SIMULATED: Final = 2_000
_LEVEL: Final = 0.995


@dataclass(frozen=True, slots=True)
class Run:
    """One measured run in bytes. ``exact``: what the formulas give whatever the constants; ``reading``: what the daemon learns of it.

    ``stored``: of the file; ``unsure``: what the formulas' own upper bounds add. ``trimmed``: the heap handed freed blocks back at once.
    """

    name: str
    model: str
    stored: int
    exact: int
    unsure: int
    tokenizer: int
    reading: MemorySample
    serving: int
    loading: int
    storage_error: int
    call_error: float | None
    trimmed: bool

    @property
    def loaded(self) -> int:
        """What a load has beside each other by formula: the mapped file alone, or with the result and the tokenizer."""
        return self.reading.loaded_bytes + self.tokenizer if self.reading.loaded_bytes else self.stored


def read(line: str) -> Run:
    """Read a line of the runs' file."""
    row: dict[str, Any] = json.loads(line)
    parts, taken, call = row["components"], row["taken"], row["call"]
    weights, temporary, beside = (sum(parts.get(name, 0) for name in names) for names in (WEIGHTS, TEMPORARY, BESIDE))
    peak = temporary + parts.get("dequantised_copy", 0)
    return Run(
        name=row["case"],
        model=row["model"],
        stored=row["stored_bytes"],
        exact=weights + temporary + beside,
        unsure=row["unsure"],
        tokenizer=parts.get("tokenizer", 0),
        reading=MemorySample(**row["reading"]),
        serving=taken["serving_peak_bytes"],
        loading=taken["load_peak_bytes"],
        storage_error=taken["tensor_bytes"] - weights,
        call_error=peak / call["peak_bytes"] - 1 if call else None,
        trimmed=row["trimmed"],
    )


def constants_of(runs: list[Run], *, trimmed: bool) -> _allocator.Constants:
    """Fit the constants to runs as the daemon does. ``trimmed``: how their heap was set."""
    readings = [run.reading for run in runs]
    serving = [(float(one.temporary_bytes), float(one.beyond_bytes)) for one in readings]
    loading = [(float(one.loaded_bytes), float(one.load_beyond_bytes)) for one in readings if one.loaded_bytes]
    return _allocator.calibrate(serving, loading, trimmed=trimmed)


def judged(runs: list[Run], calibrated: dict[str, _allocator.Constants]) -> list[dict[str, Any]]:
    """Compare each run with the plan that its model's constants give."""
    found = []
    for run in runs:
        constants, reading = calibrated[run.model], run.reading
        extra, upper = constants.serving(float(reading.temporary_bytes))
        serving = run.exact + extra
        load_extra = constants.loading(float(reading.loaded_bytes))[0] if reading.loaded_bytes else 0.0
        found.append(
            {
                "run": run.name,
                "serving_error": serving / run.serving - 1,
                "serving_off_bytes": round(serving - run.serving),
                "load_error": (run.loaded + load_extra) / run.loading - 1,
                "width": (run.exact + run.unsure + upper) / serving,
                "violated": run.serving > run.exact + run.unsure + upper,
            }
        )
    return found


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return medians, worst cases, violations with their Clopper-Pearson interval, and the width."""
    errors = [abs(row["serving_error"]) for row in rows]
    beyond_floor = [abs(row["serving_error"]) for row in rows if abs(row["serving_off_bytes"]) > _FLOOR_BYTES]
    loads = [abs(row["load_error"]) for row in rows]
    violations, count = sum(row["violated"] for row in rows), len(rows)
    interval = stats.binomtest(violations, count).proportion_ci(0.95, method="exact")
    return {
        "runs": count,
        "process_median": statistics.median(errors),
        "process_worst": max(errors),
        "process_worst_beyond_16_mib": max(beyond_floor, default=0.0),
        "process_worst_bytes": max(abs(row["serving_off_bytes"]) for row in rows),
        "load_median": statistics.median(loads),
        "load_worst": max(loads),
        "upper_violations": violations,
        "upper_violations_95": [interval.low, interval.high],
        "upper_width_median": statistics.median(row["width"] for row in rows),
    }


def simulate(seed: int) -> dict[str, Any]:
    """Cover simulated runs: 40 readings with Student's t noise of 3 degrees, then fresh ones against the bound."""
    rng = np.random.default_rng(seed)
    inside, widths = 0, []
    for _ in range(_SIMULATED):
        base, slack = rng.uniform(2e6, 20e6), rng.uniform(0, 0.5)
        sizes = rng.lognormal(18.5, 1.0, 41)
        noise = rng.standard_t(3, 41) * (1e6 + 0.01 * sizes)
        target = base + slack * sizes + noise
        fitted = _allocator.calibrate(list(zip(sizes[:40].tolist(), target[:40].tolist(), strict=True)), [])
        expected, upper = fitted.serving(float(sizes[40]))
        inside += bool(target[40] <= upper)
        widths.append((sizes[40] * 5 + upper) / (sizes[40] * 5 + expected))
    interval = stats.binomtest(inside, _SIMULATED).proportion_ci(0.95, method="exact")
    return {
        "runs": _SIMULATED,
        "seed": seed,
        "covered": inside / _SIMULATED,
        "covered_95": [interval.low, interval.high],
        "level": _LEVEL,
        "width_median": float(np.median(widths)),
    }


def draw(before: list[dict[str, Any]], after: list[dict[str, Any]], path: Path) -> None:
    """Draw each run's error before and after calibration."""
    figure, axes = plt.subplots(figsize=(9, 0.22 * len(before) + 1.5))
    places = range(len(before))
    axes.scatter([100 * row["serving_error"] for row in before], places, marker="x", label="before calibration")
    axes.scatter([100 * row["serving_error"] for row in after], places, label="after, its model left out")
    axes.set_yticks(list(places), [row["run"] for row in before], fontsize=6)
    axes.axvspan(-5, 5, alpha=0.1)
    axes.set_xlabel("planned less measured process increment, % of measured")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)


def figures(runs: list[Run], name: str) -> dict[str, Any]:
    """Return the figures of one heap's runs, each model planned with constants that never saw it, and draw them."""
    models = sorted({run.model for run in runs})
    prior = constants_of([], trimmed=runs[0].trimmed)
    before = judged(runs, dict.fromkeys(models, prior))
    left_out = {
        model: constants_of([run for run in runs if run.model != model], trimmed=runs[0].trimmed) for model in models
    }
    after = judged(runs, left_out)
    everything = constants_of(runs, trimmed=runs[0].trimmed)
    draw(before, after, RESULTS / f"allocator-measured-{name}.svg")
    return {
        "models": models,
        "before": summary(before),
        "after_leaving_the_model_out": summary(after),
        "constants": {"overhead_bytes": everything.overhead_bytes, "heap_slack": everything.heap_slack},
        "load_constants": {"overhead_bytes": everything.load_overhead_bytes, "slack": everything.load_slack},
        "rows_before": before,
        "rows_after": after,
    }


def main() -> None:
    """Write the figures and print them."""
    runs = [read(line) for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()]
    calls = {run.name: run.call_error for run in runs if run.call_error is not None}
    heaps = {"trimmed": [run for run in runs if run.trimmed], "in-service": [run for run in runs if not run.trimmed]}
    RESULTS.mkdir(exist_ok=True)
    content: dict[str, Any] = {
        "runs": len(runs),
        "storage_worst_bytes": max(abs(run.storage_error) for run in runs),
        "call_median": statistics.median(abs(error) for error in calls.values()),
        "call_worst": max(abs(error) for error in calls.values()),
        "simulated": simulate(1),
        "heaps": {name: figures(chosen, name) for name, chosen in heaps.items() if chosen},
        "call_errors": calls,
    }
    (RESULTS / "allocator-measured.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    for heap in content["heaps"].values():
        del heap["rows_before"], heap["rows_after"]
    del content["call_errors"]
    print(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
