"""Predictions beside measurements."""

from __future__ import annotations

import pytest

from echoplaned.planning.calibration import Accuracy, Calibration, EngineKey, Measurement

TORCH = EngineKey("torch", "2.15", "host")


def measured(predicted_bytes: int, measured_bytes: int, key: EngineKey = TORCH) -> Measurement:
    """Return a measurement whose upper bound is a tenth above the prediction."""
    return Measurement(key, predicted_bytes, predicted_bytes * 11 // 10, measured_bytes)


def test_accuracy_is_kept_by_engine() -> None:
    """Median, worst and exceeded bounds are those of one engine, version and device."""
    calibration = Calibration()
    assert calibration.accuracy(TORCH) is None
    for predicted, found in ((100, 100), (110, 100), (100, 125)):
        calibration.record(measured(predicted, found))
    calibration.record(measured(1, 1000, EngineKey("torch", "2.16", "host")))
    assert calibration.accuracy(TORCH) == Accuracy(count=3, median_error=0.1, worst_error=0.2, exceeded=1)


def test_the_oldest_are_forgotten() -> None:
    """No more than the limit is kept."""
    calibration = Calibration(limit=2)
    for size in (1, 2, 3):
        calibration.record(measured(size, size))
    assert [one.measured_bytes for one in calibration.measurements] == [2, 3]


def test_it_survives_as_text() -> None:
    """What is written is read back, whole."""
    calibration = Calibration()
    calibration.record(measured(100, 90))
    assert Calibration.from_json(calibration.to_json()).measurements == calibration.measurements


@pytest.mark.parametrize("text", ["", "7", "[1]", "[{}]", '[{"key": {"engine": "torch"}}]', '[{"key": 1}]'])
def test_other_text_is_refused(text: str) -> None:
    """A damaged file is one error, whatever is wrong with it."""
    with pytest.raises(ValueError, match=r"."):
        Calibration.from_json(text)


def test_nothing_measured_is_no_measurement() -> None:
    """A zero would be an infinite error."""
    with pytest.raises(ValueError, match="measured_bytes is 0"):
        Calibration().record(measured(1, 0))
