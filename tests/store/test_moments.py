"""The moment of the newest commit outlives the daemon."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from types import ModuleType

from echoplaned.ports.moment import Moment
from echoplaned.store import SqlStore


def test_each_commit_keeps_its_moment(state_dir: Path, story: ModuleType) -> None:
    """What the next daemon reads is when the newest commit was made; before the first there is none."""
    moments = [Moment(100.0, "boot", 5.0), Moment(107.5, "boot", 12.5)]
    now = iter(moments)
    with closing(SqlStore.open(state_dir, now=lambda: next(now))) as store:
        assert store.last_moment() is None
        before = store.load()
        for epoch, moment in enumerate(moments, start=1):
            store.commit(before, story.state_at(epoch), ())
            assert store.last_moment() == moment
            before = story.state_at(epoch)
    with closing(SqlStore.open(state_dir)) as store:
        assert store.last_moment() == moments[-1]
        store.commit(store.load(), story.state_at(3), ())
        assert store.last_moment() is None, "a commit without a moment must not have an old one's"
