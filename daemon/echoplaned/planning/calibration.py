"""What was predicted beside what was measured, kept by engine, engine version and device.

Plans do not use it yet: it shows how good they are. Fitting the engines' constants to it comes later.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from statistics import median
from typing import Self


@dataclass(frozen=True, slots=True)
class EngineKey:
    """Whose constants a measurement tells about."""

    engine: str
    engine_version: str
    device_kind: str


@dataclass(frozen=True, slots=True)
class Measurement:
    """One instance: what its plan said and what its process needed at most, beyond a worker that waits warm. Bytes."""

    key: EngineKey
    predicted_bytes: int
    upper_bytes: int
    measured_bytes: int


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How far plans were off. Errors are fractions of the measurement; ``exceeded`` counts those above their upper bound."""

    count: int
    median_error: float
    worst_error: float
    exceeded: int


class Calibration:
    """Measurements of one daemon, the newest last. Not safe for several threads: its owner is the loop."""

    def __init__(self, limit: int = 1000) -> None:
        """Keep at most ``limit`` measurements; the oldest are forgotten."""
        self._limit = limit
        self._measurements: list[Measurement] = []

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """All that are kept, the newest last."""
        return tuple(self._measurements)

    def record(self, measurement: Measurement) -> None:
        """Add a measurement.

        Raises:
            ValueError: it measures nothing.
        """
        if measurement.measured_bytes <= 0:
            raise ValueError(f"measured_bytes is {measurement.measured_bytes}; it must be above 0")
        self._measurements.append(measurement)
        del self._measurements[: -self._limit]

    def accuracy(self, key: EngineKey) -> Accuracy | None:
        """Return how far the plans for one engine were off; None where nothing was measured."""
        mine = [one for one in self._measurements if one.key == key]
        if not mine:
            return None
        errors = [abs(one.predicted_bytes - one.measured_bytes) / one.measured_bytes for one in mine]
        exceeded = sum(one.measured_bytes > one.upper_bytes for one in mine)
        return Accuracy(len(mine), median(errors), max(errors), exceeded)

    def to_json(self) -> str:
        """Return all measurements as text that `from_json` reads."""
        return json.dumps([asdict(one) for one in self._measurements])

    @classmethod
    def from_json(cls, text: str, limit: int = 1000) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError: the text is not that.
        """
        calibration = cls(limit)
        try:
            for one in json.loads(text):
                key = EngineKey(**{name: str(value) for name, value in one.pop("key").items()})
                calibration.record(Measurement(key=key, **{name: int(value) for name, value in one.items()}))
        except (TypeError, AttributeError, KeyError) as error:
            raise ValueError(f"not a list of measurements: {error}") from error
        return calibration
