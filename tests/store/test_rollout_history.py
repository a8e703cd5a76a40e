"""Rollouts' histories: bounded, in memory and on disk."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from echoplaned.core.rollout_state import HISTORY_RETAINED
from echoplaned.store import SqlStore, prepare_state_dir
from echoplaned.store.references import check_references
from echoplaned.testing.transcript import Transcript


def test_the_newest_lines_are_kept_and_stored(tmp_path: Path) -> None:
    """Who pauses and resumes without end fills neither memory nor disk; the numbers go on, and a start takes them as they are."""
    prepare_state_dir(tmp_path)
    transcript = Transcript()
    transcript.prepare("m/v1 serving")
    transcript.prepare("m/v2 observed")
    begun = transcript.state.models["m"].rollout
    assert begun is not None
    with closing(SqlStore.open(tmp_path)) as store:
        store.commit(store.load(), transcript.state, ())
        for number in range(HISTORY_RETAINED // 2 + 10):
            before = transcript.state
            transcript.play(f"pause m why={number}")
            transcript.play("resume m")
            store.commit(before, transcript.state, ())
        stored = store.load()
    rollout = stored.models["m"].rollout
    assert rollout is not None
    assert rollout.history == transcript.state.models["m"].rollout.history
    numbers = [entry.sequence for entry in rollout.history]
    last = begun.history[-1].sequence + HISTORY_RETAINED + 20
    assert numbers == list(range(last - HISTORY_RETAINED + 1, last + 1))
    check_references(stored)
