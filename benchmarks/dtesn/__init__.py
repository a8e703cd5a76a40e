"""The tree reservoir beside reservoirpy and a scipy sparse step: time, error on published tasks, washouts, what telemetry costs.

reservoirpy and scipy are of the dependency group ``bench``. `python -m benchmarks.dtesn PART…` measures some parts anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from benchmarks.dtesn import equal_error, others, quality, speed, telemetry, tracing, washout
from benchmarks.reporting import Row

__all__ = ["PARTS", "measure", "others"]

PARTS: Final[Mapping[str, Callable[[], list[Row]]]] = {
    "speed": speed.measure,
    "quality": quality.measure,
    "washout": washout.measure,
    "equal_error": equal_error.measure,
    "telemetry": telemetry.measure,
    "tracing": tracing.measure,
}


def measure() -> list[Row]:
    """Return all rows."""
    return [row for part in PARTS.values() for row in part()]
