"""Readings of engines' memory: a bounded window by engine, version and device."""

from __future__ import annotations

from dataclasses import replace

from echoplaned.core.calibration import WINDOW, EngineKey, Reading, Window, readings_of, with_reading
from echoplaned.core.effects import Persist
from echoplaned.core.events import ReadingTaken
from echoplaned.core.state import State
from echoplaned.core.step import step

KEY = EngineKey("torch", "torch 2.15.0", "host memory")
READING = Reading("m/v#0.1", 1.0, 100, 20, 0, 0)


def test_a_window_is_bounded_and_loses_the_oldest() -> None:
    """No more readings are kept than the window holds."""
    windows: tuple[Window, ...] = ()
    for number in range(WINDOW + 3):
        windows = with_reading(windows, KEY, replace(READING, subject=str(number)))
    kept = readings_of(windows, KEY)
    assert len(kept) == WINDOW
    assert [kept[0].subject, kept[-1].subject] == ["3", str(WINDOW + 2)]


def test_a_process_has_one_reading() -> None:
    """What is measured of a process later takes the place of what was measured of it before."""
    windows = with_reading(with_reading((), KEY, READING), KEY, replace(READING, beyond_bytes=30))
    assert [one.beyond_bytes for one in readings_of(windows, KEY)] == [30]


def test_another_version_or_device_begins_anew() -> None:
    """Constants belong to engine, version and device."""
    windows = with_reading((), KEY, READING)
    assert readings_of(windows, replace(KEY, engine_version="torch 2.16.0")) == ()
    assert readings_of(windows, replace(KEY, device="H100")) == ()


def test_a_reading_is_persisted() -> None:
    """The step that takes a reading asks for the store; the same reading again does not."""
    first = step(State(), ReadingTaken(1.0, KEY, READING))
    assert [type(effect) for effect in first.effects] == [Persist]
    assert readings_of(first.state.calibrations, KEY) == (READING,)
    assert step(first.state, ReadingTaken(2.0, KEY, READING)).effects == ()
