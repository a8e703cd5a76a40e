"""A database that cannot be written is read all the same: from a full disk, and from one that is mounted read-only."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import ModuleType

import pytest

from echoplaned.core.errors import StoreUnavailableError
from echoplaned.store import SqlStore, StateDirLock
from echoplaned.store.errors import FilesReplacedError
from echoplaned.store.store import DATABASE_NAME

EPOCH = 20

READ_AND_REFUSE = """
import resource, sys
from pathlib import Path
from echoplaned.core.errors import StoreUnavailableError
from echoplaned.store import SqlStore, StateDirLock
from tests.store import story

soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
with StateDirLock(Path(sys.argv[1])) as lock:
    store = SqlStore.open(Path(sys.argv[1]), lock)
    found = store.load()
    assert found == story.state_at(20), found.store_epoch
    assert store.announces_after(0, 100) == tuple(one for n in range(1, 21) for one in story.announces_at(n))
    for attempt in (store.check, lambda: store.commit(found, story.state_at(21), ())):
        try:
            attempt()
        except StoreUnavailableError as error:
            print("refused:", error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    store.check()
    store.commit(found, story.state_at(21), story.announces_at(21))
    assert store.load() == story.state_at(21)
    store.close()
"""


@pytest.fixture(params=["stopped", "killed", "killed, without its index"])
def left(request: pytest.FixtureRequest, tmp_path: Path, state_dir: Path, story: ModuleType) -> Path:
    """Return a state directory as a daemon leaves it that was stopped, or killed with commits in its log only."""
    found = tmp_path / "left"
    with StateDirLock(_made(state_dir)), closing(SqlStore.open(state_dir)) as store:
        before = store.load()
        for epoch in range(1, EPOCH + 1):
            store.commit(before, story.state_at(epoch), story.announces_at(epoch))
            before = story.state_at(epoch)
        if request.param != "stopped":
            shutil.copytree(state_dir, found)
    if request.param == "stopped":
        shutil.copytree(state_dir, found)
    elif request.param != "killed":
        (found / f"{DATABASE_NAME}-shm").unlink()
    return found


def _made(state_dir: Path) -> Path:
    state_dir.mkdir(mode=0o700)
    return state_dir


@contextmanager
def read_only(path: Path) -> Iterator[None]:
    """Mount a directory read-only over itself; skip where that is not permitted."""
    for options in (("--bind", str(path), str(path)), ("-o", "remount,bind,ro", str(path))):
        if subprocess.run(["mount", *options], capture_output=True, check=False).returncode:  # noqa: S607 - wherever it is
            pytest.skip("mounting is not permitted here; RLIMIT_FSIZE is tried in any case")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)  # noqa: S607 - as above


def test_a_full_disk_is_read_and_written_again_once_there_is_room(left: Path) -> None:
    """No file may grow by a byte: state and announces are read, commits refused; with room the same store goes on."""
    command = [sys.executable, "-c", READ_AND_REFUSE, str(left)]
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, cwd=Path(__file__).parents[2]
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("refused: the store cannot be written (") == 2


def test_a_read_only_disk_is_read(left: Path, story: ModuleType) -> None:
    """Lock, state and announces are to be had; commits are refused, and go on once the disk may be written."""
    without_index = (left / f"{DATABASE_NAME}-wal").exists() and not (left / f"{DATABASE_NAME}-shm").exists()
    if without_index:
        pytest.skip("SQLite reads no log without its index where it may not write one")
    with read_only(left), StateDirLock(left) as lock:
        store = SqlStore.open(left, lock)
        assert store.load() == story.state_at(EPOCH)
        assert len(store.announces_after(0, 100)) == EPOCH
        with pytest.raises(StoreUnavailableError):
            store.check()
        with pytest.raises(StoreUnavailableError):
            store.commit(story.state_at(EPOCH), story.state_at(EPOCH + 1), ())
        store.close()
    with closing(SqlStore.open(left)) as again:
        assert again.load() == story.state_at(EPOCH)


def test_an_old_schema_on_a_full_disk_is_read(tmp_path: Path) -> None:
    """What an earlier release left is brought to the newest schema in memory; the file stays as it is."""
    state_dir = _made(tmp_path / "state")
    script = (Path(__file__).parent / "data" / "f78e306.sql").read_text(encoding="utf-8")
    program = (
        "import resource, sqlite3, sys; from pathlib import Path; from echoplaned.store import SqlStore;"
        "path = Path(sys.argv[1]); connection = sqlite3.connect(path / 'echoplane.db');"
        "connection.execute('PRAGMA journal_mode=WAL'); connection.executescript(sys.stdin.read()); connection.close();"
        "before = (path / 'echoplane.db').read_bytes();"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1));"
        "print(SqlStore.open(path).load().store_epoch, (path / 'echoplane.db').read_bytes() == before)"
    )
    command = [sys.executable, "-c", program, str(state_dir)]
    run = subprocess.run(command, input=script, capture_output=True, text=True, timeout=60, check=False)
    assert run.stdout.splitlines()[-1] == "44 True", run.stderr


@pytest.mark.long
def test_a_database_that_somebody_holds_is_read(state_dir: Path, story: ModuleType) -> None:
    """A foreign process that has it all to itself for longer than the daemon waits keeps it from writing for as long."""
    with closing(SqlStore.open(state_dir)) as store:
        store.commit(store.load(), story.state_at(1), ())
    with closing(sqlite3.connect(state_dir / DATABASE_NAME, isolation_level=None)) as foreign:
        foreign.execute("PRAGMA locking_mode=EXCLUSIVE")
        foreign.execute("BEGIN IMMEDIATE")
        store = SqlStore.open(state_dir)
        assert store.load() == story.state_at(1)
        with pytest.raises(StoreUnavailableError, match="locked"):
            store.check()
        moved = state_dir / "moved"
        (state_dir / DATABASE_NAME).rename(moved)
        with pytest.raises(FilesReplacedError, match=DATABASE_NAME):
            store.check()
        assert not (state_dir / DATABASE_NAME).exists(), "nothing is made in the place of what has gone"
        moved.rename(state_dir / DATABASE_NAME)
        foreign.execute("ROLLBACK")
    store.commit(story.state_at(1), story.state_at(2), ())
    assert store.load() == story.state_at(2)
    store.close()


def test_a_database_that_nobody_may_read_is_no_start(tmp_path: Path) -> None:
    """Where there is something and it cannot be read, the daemon does not begin with nothing."""
    if os.geteuid() == 0:
        pytest.skip("for the superuser modes do not count")
    state_dir = _made(tmp_path / "state")
    SqlStore.open(state_dir).close()
    (state_dir / DATABASE_NAME).chmod(0)
    with pytest.raises(StoreUnavailableError):
        SqlStore.open(state_dir)
