"""Readings of engines' memory outlive the daemon, in their order, each window for itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from echoplaned.core.behaviour import Int8Baseline
from echoplaned.core.calibration import EngineKey, MemorySample, with_sample
from echoplaned.core.commands import LoadVersion, Request
from echoplaned.core.engine_events import Int8BaselineMeasured, MemorySampled
from echoplaned.core.ids import VersionKey
from echoplaned.core.state import State
from echoplaned.core.step import step
from echoplaned.store import SqlStore
from echoplaned.testing import builders

HOST = EngineKey("torch", "torch 2.15.0", "host memory")
CARD = EngineKey("torch", "torch 2.15.0", "a card")


def test_readings_come_back(tmp_path: Path) -> None:
    """What a step keeps is there after a restart; a process that is measured again has one row."""
    store = SqlStore.open(tmp_path / "state")
    state = store.load()
    for number, key in enumerate((HOST, CARD, HOST)):
        after = step(state, MemorySampled(1.0, key, MemorySample(f"m/v#{number}.1", float(number), 1, 2, 3, -4))).state
        store.commit(state, after, ())
        state = after
    again = step(state, MemorySampled(2.0, HOST, MemorySample("m/v#0.1", 9.0, 5, 6, 7, 8))).state
    store.commit(state, again, ())
    store.close()
    reopened = SqlStore.open(tmp_path / "state")
    assert reopened.load().calibrations == again.calibrations
    assert [len(window.samples) for window in again.calibrations] == [1, 2]
    reopened.close()


def test_what_was_measured_of_a_version_comes_back(tmp_path: Path) -> None:
    """How far a version is from itself in INT8 is kept with it; one that has gone keeps nothing."""
    store = SqlStore.open(tmp_path / "state")
    empty = store.load()
    loading = step(empty, LoadVersion(Request(1.0, "op"), builders.order("m", "v1"))).state
    store.commit(empty, loading, ())
    told = Int8Baseline("KL", 0.00138, 16)
    state = step(loading, Int8BaselineMeasured(2.0, VersionKey("m", "v1"), told)).state
    store.commit(loading, state, ())
    store.close()
    reopened = SqlStore.open(tmp_path / "state")
    assert reopened.load().models["m"].versions["v1"].int8_baseline == told
    reopened.close()
    gone = step(state, Int8BaselineMeasured(3.0, VersionKey("m", "v9"), told)).state
    assert gone.models == state.models


def test_a_window_that_lost_a_reading_is_stored_as_it_is(tmp_path: Path) -> None:
    """A reading that left the window leaves the store."""
    store = SqlStore.open(tmp_path / "state")
    first = store.load()
    windows = with_sample((), HOST, MemorySample("m/v#0.1", 1.0, 1, 2, 3, 4))
    full = replace(first, calibrations=windows, store_epoch=first.store_epoch + 1)
    store.commit(first, full, ())
    empty: State = replace(full, calibrations=(), store_epoch=full.store_epoch + 1)
    store.commit(full, empty, ())
    assert store.load().calibrations == ()
    store.close()
