"""The tree reservoir beside reservoirpy and a scipy sparse step, in one run: time, and error on published tasks; what telemetry costs.

reservoirpy and scipy are of the dependency group ``bench``.
"""

from __future__ import annotations

from benchmarks.dtesn import equal_error, others, quality, speed, telemetry, tracing
from benchmarks.reporting import Row

__all__ = ["measure", "others"]


def measure() -> list[Row]:
    """Return all rows."""
    return [*speed.measure(), *quality.measure(), *equal_error.measure(), *telemetry.measure(), *tracing.measure()]
