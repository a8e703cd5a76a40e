"""A database is looked at before it is believed: damage is called damage, and nothing is written over it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest

from echoplaned.store import SqlStore, StoreCorruptError
from echoplaned.store.store import DATABASE_NAME


@pytest.fixture
def database(state_dir: Path, story: ModuleType) -> Path:
    """Return a database with a rollout in it, nothing left in its log."""
    with closing(SqlStore.open(state_dir)) as store:
        before = store.load()
        for epoch in range(1, 40):
            store.commit(before, story.state_at(epoch), story.announces_at(epoch))
            before = story.state_at(epoch)
    return state_dir / DATABASE_NAME


def page_of(database: Path, table: str) -> tuple[int, int]:
    """Return where a table's first page begins, and how long it is."""
    with closing(sqlite3.connect(database)) as connection:
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    return (page - 1) * size, size


@pytest.mark.parametrize("table", ["models", "operations", "announces", "rollout_events"])
def test_a_damaged_page_is_found_at_the_start(database: Path, table: str) -> None:
    """Also one of a table that a start does not read; the file stays as it was found, for whoever looks after it."""
    start, size = page_of(database, table)
    content = bytearray(database.read_bytes())
    content[start : start + size] = b"\xa5" * size
    database.write_bytes(content)
    with pytest.raises(StoreCorruptError) as caught:
        SqlStore.open(database.parent)
    assert "try again" not in str(caught.value)
    assert database.read_bytes() == bytes(content)


@pytest.mark.parametrize("table", ["models", "versions", "rollouts"])
def test_a_row_that_others_belong_to_is_missed(database: Path, table: str) -> None:
    """Instances without their version, say, would vanish without a word, and their processes with them."""
    with closing(sqlite3.connect(database)) as foreign:
        foreign.execute(f"DELETE FROM {table}")  # noqa: S608 - a constant
        foreign.commit()
    with pytest.raises(StoreCorruptError, match=f"rows belong to none, .* to none of {table}"):
        SqlStore.open(database.parent)


def test_a_sound_database_is_opened(database: Path, story: ModuleType) -> None:
    """What this daemon wrote passes."""
    with closing(SqlStore.open(database.parent)) as store:
        assert store.load() == story.state_at(39)
