"""The table of keys: written apart from the state, and there in a database of an earlier release."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import event

from echoplaned.core.errors import StoreUnavailableError
from echoplaned.ports.keys import KeyRequest, Role, StoredKey
from echoplaned.store import SqlKeys, SqlStore, StoreCorruptError
from echoplaned.store import keys as store_keys
from echoplaned.store.errors import FilesReplacedError
from echoplaned.store.store import DATABASE_NAME

DATA = Path(__file__).parent / "data"


def key(number: int, **changes: object) -> StoredKey:
    """Make a key."""
    request = KeyRequest(Role.OPERATOR, ("a", "b"), 60, "ci", f"r{number}", "digest")
    made = StoredKey(f"id{number}", f"{number:064}", request, 1000.0 + number)
    return replace(made, **changes)  # type: ignore[arg-type]  # a test's own


def test_what_is_written_is_read_back(store: SqlStore, state_dir: Path) -> None:
    """Every field comes back in another process too, the oldest first; the state's epoch is as before."""
    table = SqlKeys(store)
    plain = StoredKey("id0", "0" * 64, KeyRequest(), 1000.0)
    for each in (plain, key(1), key(2)):
        table.insert(each)
    table.revoke("id1", 2000.0)
    expected = (plain, key(1, revoke_time_s=2000.0), key(2))
    assert table.load() == expected
    assert store.load().store_epoch == 0
    store.close()
    assert SqlKeys(SqlStore.open(state_dir)).load() == expected


def test_ids_are_unique(store: SqlStore) -> None:
    """Neither a key's id nor a request's is written twice; nothing of the second is."""
    table = SqlKeys(store)
    table.insert(key(1))
    for other in (key(1), key(2, request=key(1).request)):
        with pytest.raises(StoreUnavailableError):
            table.insert(other)
    assert table.load() == (key(1),)


@pytest.mark.parametrize("again", ["insert", "revoke"])
def test_a_key_that_was_refused_is_not_there_when_the_files_are_back(
    store: SqlStore, state_dir: Path, again: str
) -> None:
    """It was written after all, to a database without its name: the next write is without it, and its request's id is free."""
    table = SqlKeys(store)
    table.insert(key(1))
    database, elsewhere = state_dir / DATABASE_NAME, state_dir / "elsewhere"
    event.listen(store._engine, "commit", lambda _: database.rename(elsewhere), once=True)
    with pytest.raises(FilesReplacedError):
        table.insert(key(2))
    elsewhere.rename(database)
    if again == "insert":
        retried = key(3, request=key(2).request)
        table.insert(retried)
        assert table.load() == (key(1), retried)
    else:
        table.revoke("id1", 2000.0)
        assert table.load() == (key(1, revoke_time_s=2000.0),)


def test_few_revoked_keys_are_retained(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those that were revoked the newest are kept, and none that works is deleted."""
    monkeypatch.setattr(store_keys, "REVOKED_RETAINED", 2)
    table = SqlKeys(store)
    for number in range(6):
        table.insert(key(number))
    for number in range(4):
        table.revoke(f"id{number}", 2000.0 + number)
    assert [each.key_id for each in table.load()] == ["id2", "id3", "id4", "id5"]


def test_an_old_database_has_room_for_keys(state_dir: Path) -> None:
    """The database of release f78e306, with its models, takes keys."""
    state_dir.mkdir(mode=0o700)
    with sqlite3.connect(state_dir / DATABASE_NAME) as connection:
        connection.executescript((DATA / "f78e306.sql").read_text(encoding="utf-8"))
    connection.close()
    store = SqlStore.open(state_dir)
    table = SqlKeys(store)
    assert table.load() == ()
    table.insert(key(1))
    assert table.load() == (key(1),)
    assert list(store.load().models) == ["m", "n", "o", "p"]
    store.close()


@pytest.mark.parametrize("change", ["role = 'ROOT'", "models = '{}'", "models = '[1]'"])
def test_damage_is_told(store: SqlStore, state_dir: Path, change: str) -> None:
    """A row that no daemon writes is refused, not guessed: a role that nobody has could be any."""
    SqlKeys(store).insert(key(1))
    with sqlite3.connect(state_dir / DATABASE_NAME) as connection:
        connection.execute(f"UPDATE keys SET {change}")  # noqa: S608 - this test's own words
    connection.close()
    with pytest.raises(StoreCorruptError, match="keys id1"):
        SqlKeys(store).load()


def test_lost_files_take_no_keys(store: SqlStore, state_dir: Path) -> None:
    """Where the database was removed under the daemon nothing is written into what has no name."""
    table = SqlKeys(store)
    table.insert(key(1))
    (state_dir / DATABASE_NAME).unlink()
    with pytest.raises(StoreUnavailableError):
        table.insert(key(2))
