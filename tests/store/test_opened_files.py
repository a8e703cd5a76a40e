"""Files that lose their names under a running store: seen by a look, never written to, and nothing acknowledged is lost."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest
import sqlalchemy as sa

from echoplaned.core.effects import Announce
from echoplaned.core.errors import StoreUnavailableError
from echoplaned.core.failure import Reason
from echoplaned.store import SqlStore, StateDirLock, prepare_state_dir
from echoplaned.store.directory import LOCK_NAME
from echoplaned.store.errors import FilesReplacedError
from echoplaned.store.opened_files import WAL_SUFFIX
from echoplaned.store.store import DATABASE_NAME
from echoplaned.store.write import append_announces

WAL = DATABASE_NAME + WAL_SUFFIX
DIRECTORY = "the state directory"


def put_back(path: Path) -> None:
    """Leave another file with the same content in its place."""
    other = path.with_name("other")
    shutil.copyfile(path, other)
    other.replace(path)


def empty(path: Path) -> None:
    """Leave an empty file in its place."""
    path.unlink()
    path.touch(mode=0o600)


def away(path: Path) -> None:
    """Move it."""
    path.rename(path.with_name(path.name + "-away"))


def back(path: Path) -> None:
    """Move it where it was."""
    path.with_name(path.name + "-away").rename(path)


def copied(path: Path) -> None:
    """Leave a copy of the directory in its place."""
    away(path)
    shutil.copytree(path.with_name(path.name + "-away"), path)


def made_anew(path: Path) -> None:
    """Remove the directory and make an empty one."""
    shutil.rmtree(path)
    path.mkdir(mode=0o700)


@pytest.fixture
def locked(state_dir: Path) -> Iterator[SqlStore]:
    """Return an empty store whose directory is locked."""
    prepare_state_dir(state_dir)
    with StateDirLock(state_dir) as lock, closing(SqlStore.open(state_dir, lock)) as store:
        yield store


Change = tuple[str, Callable[[Path], None], str]
"""Which file, what becomes of it, and how it is called."""

CHANGES: list[Change] = [
    ("", shutil.rmtree, DIRECTORY),
    ("", away, DIRECTORY),
    ("", copied, DIRECTORY),
    ("", made_anew, DIRECTORY),
    (DATABASE_NAME, os.unlink, DATABASE_NAME),
    (DATABASE_NAME, put_back, DATABASE_NAME),
    (DATABASE_NAME, empty, DATABASE_NAME),
    (WAL, os.unlink, WAL),
    (WAL, put_back, WAL),
    (WAL, empty, WAL),
    (LOCK_NAME, os.unlink, LOCK_NAME),
    (LOCK_NAME, empty, LOCK_NAME),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: f"{change[2]}-{change[1].__name__}")
def test_a_difference_is_seen_and_stops_writes(
    locked: SqlStore, state_dir: Path, story: ModuleType, change: Change
) -> None:
    """Each file, removed or replaced: the look names it without a path, no commit is taken, and nothing is made in its place."""
    file, alter, named = change
    old = story.state_at(1)
    locked.commit(locked.load(), old, ())
    locked.check()
    alter(state_dir / file)
    before = sorted(state_dir.parent.rglob("*"))
    for attempt in (locked.check, lambda: locked.commit(old, story.state_at(2), ()), locked.check):
        with pytest.raises(FilesReplacedError) as caught:
            attempt()
        assert caught.value.name == named
        assert caught.value.failure.reason is Reason.STORE_UNAVAILABLE
        assert str(state_dir) not in caught.value.failure.message
    assert sorted(state_dir.parent.rglob("*")) == before


@pytest.mark.parametrize("change", [os.unlink, empty], ids=["unlink", "empty"])
def test_what_was_acknowledged_is_brought_out_of_a_lost_log(
    locked: SqlStore, state_dir: Path, story: ModuleType, change: Callable[[Path], None]
) -> None:
    """The first look after the log lost its name writes it into the database: a crash from then on loses nothing."""
    states = [locked.load(), *(story.state_at(epoch) for epoch in range(1, 20))]
    for before, after in itertools.pairwise(states):
        locked.commit(before, after, ())
    change(state_dir / WAL)
    with pytest.raises(FilesReplacedError):
        locked.check()
    copy = state_dir.with_name("after-a-crash")
    copy.mkdir(mode=0o700)
    shutil.copyfile(state_dir / DATABASE_NAME, copy / DATABASE_NAME)
    with closing(SqlStore.open(copy)) as found:
        assert found.load() == states[-1]


def test_a_directory_that_comes_back_is_written_again(locked: SqlStore, state_dir: Path, story: ModuleType) -> None:
    """Moved away and back again it is the same one: commits go on."""
    one, two = story.state_at(1), story.state_at(2)
    locked.commit(locked.load(), one, ())
    moved = state_dir.with_name("moved")
    state_dir.rename(moved)
    with pytest.raises(FilesReplacedError):
        locked.commit(one, two, ())
    moved.rename(state_dir)
    locked.check()
    locked.commit(one, two, ())
    assert locked.load() == two


def test_a_commit_during_which_the_directory_goes_is_not_acknowledged(
    locked: SqlStore, state_dir: Path, story: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look after the commit counts as well: what was written to a directory without a name is refused."""
    one = story.state_at(1)
    locked.commit(locked.load(), one, ())
    monkeypatch.setattr("echoplaned.store.store.append_announces", lambda *_: shutil.rmtree(state_dir))
    with pytest.raises(FilesReplacedError):
        locked.commit(one, story.state_at(2), ())


@pytest.mark.parametrize("file_and_epoch", list(itertools.product(["", DATABASE_NAME, LOCK_NAME], [1, 7, 8, 9, 16])))
def test_a_refused_commit_is_not_there_when_the_files_are_back(
    locked: SqlStore,
    state_dir: Path,
    story: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    file_and_epoch: tuple[str, int],
) -> None:
    """It was written after all, to files without their names: back again they are what they were, and the next commit is taken."""
    file, epoch = file_and_epoch
    old, new = story.state_at(epoch), story.state_at(epoch + 1)
    locked.commit(locked.load(), old, story.announces_at(epoch))
    known = locked.announces_after(0, 100)

    def go_meanwhile(connection: sa.Connection, announces: tuple[Announce, ...]) -> None:
        append_announces(connection, announces)
        away(state_dir / file)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr("echoplaned.store.store.append_announces", go_meanwhile)
        with pytest.raises(FilesReplacedError):
            locked.commit(old, new, story.announces_at(epoch + 1))
    with pytest.raises(FilesReplacedError):
        locked.check()
    back(state_dir / file)
    locked.check()
    copy = state_dir.with_name("after-a-crash")
    shutil.copytree(state_dir, copy)
    with closing(SqlStore.open(copy)) as found:
        assert found.load() == old
        assert found.announces_after(0, 100) == known
    locked.commit(old, new, story.announces_at(epoch + 1))
    assert locked.load() == new


def test_a_reader_does_not_open_what_lies_in_the_place(locked: SqlStore, state_dir: Path, story: ModuleType) -> None:
    """A connection that is opened later is not opened on a stranger's files."""
    locked.commit(locked.load(), story.state_at(1), story.announces_at(1))
    with locked._engine.connect():
        copied(state_dir)
        with pytest.raises(StoreUnavailableError):
            locked.announces_after(0, 10)


def test_connections_come_and_go(locked: SqlStore, story: ModuleType) -> None:
    """SQLite makes a new log whenever its last connection has gone: that is no difference."""
    state = locked.load()
    for epoch in range(1, 6):
        with locked._engine.connect(), locked._engine.connect():
            pass
        locked.commit(state, story.state_at(epoch), ())
        state = story.state_at(epoch)
        locked._engine.dispose()
        locked.check()
    assert locked.load() == state
