"""Readings of engines' memory outlive the daemon, in their order, each window for itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from echoplaned.core.calibration import EngineKey, Reading, with_reading
from echoplaned.core.events import ReadingTaken
from echoplaned.core.state import State
from echoplaned.core.step import step
from echoplaned.runtime.store import SqlStore

HOST = EngineKey("torch", "torch 2.15.0", "host memory")
CARD = EngineKey("torch", "torch 2.15.0", "a card")


def test_readings_come_back(tmp_path: Path) -> None:
    """What a step keeps is there after a restart; a process that is measured again has one row."""
    store = SqlStore.open(tmp_path / "state")
    state = store.load()
    for number, key in enumerate((HOST, CARD, HOST)):
        after = step(state, ReadingTaken(1.0, key, Reading(f"m/v#{number}.1", float(number), 1, 2, 3, -4))).state
        store.commit(state, after, ())
        state = after
    again = step(state, ReadingTaken(2.0, HOST, Reading("m/v#0.1", 9.0, 5, 6, 7, 8))).state
    store.commit(state, again, ())
    store.close()
    reopened = SqlStore.open(tmp_path / "state")
    assert reopened.load().calibrations == again.calibrations
    assert [len(window.readings) for window in again.calibrations] == [1, 2]
    reopened.close()


def test_a_window_that_lost_a_reading_is_stored_as_it_is(tmp_path: Path) -> None:
    """A reading that left the window leaves the store."""
    store = SqlStore.open(tmp_path / "state")
    first = store.load()
    windows = with_reading((), HOST, Reading("m/v#0.1", 1.0, 1, 2, 3, 4))
    full = replace(first, calibrations=windows, store_epoch=first.store_epoch + 1)
    store.commit(first, full, ())
    empty: State = replace(full, calibrations=(), store_epoch=full.store_epoch + 1)
    store.commit(full, empty, ())
    assert store.load().calibrations == ()
    store.close()
