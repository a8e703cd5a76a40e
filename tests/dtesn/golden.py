"""Writes ``golden.json`` anew, after a change of how weights are drawn: ``python -m tests.dtesn.golden``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from echoplaned.dtesn import SIZE_CLASSES, ReservoirSettings, TreeReservoir

GOLDEN = Path(__file__).parent / "golden.json"


def telemetry(rows: int, columns: int) -> np.ndarray:
    """Return inputs in [-1, 1] that are exact in float32, row by row."""
    values = (np.arange(rows * columns) * 7919 % 2003 - 1001) / 1024
    return values.reshape(rows, columns).astype(np.float32)


def states(reservoir: TreeReservoir) -> np.ndarray:
    """Return some units after 50, 100 and 200 steps of irregular length."""
    found = reservoir.run(telemetry(200, 4), dt=np.tile([1.0, 0.5, 3.0, 1.0], 50))
    return found[[49, 99, 199]][:, :: reservoir.units // 16 + 1]


def main() -> None:
    """Write the file; 9 digits tell two float32 apart."""
    golden = {}
    for size_class in SIZE_CLASSES:
        reservoir = TreeReservoir.of_class(size_class, 4, ReservoirSettings(seed=7))
        rows = [[float(f"{value:.9g}") for value in row] for row in states(reservoir)]
        golden[size_class] = {"fingerprint": reservoir.fingerprint, "states": rows}
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
