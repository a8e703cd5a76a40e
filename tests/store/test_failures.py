"""A store that cannot be written says so, is left as it was, and works again when the cause has gone."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, ModuleType

import pytest
import sqlalchemy as sa

from echoplaned.core.effects import Announce
from echoplaned.core.errors import StoreUnavailableError
from echoplaned.core.failure import Reason
from echoplaned.core.state import State
from echoplaned.store import SqlStore, StoreCorruptError
from echoplaned.store.store import DATABASE_NAME
from echoplaned.store.write import ANNOUNCES_RETAINED

NOBODY = 65534


def refuse(store: SqlStore, before: State, after: State) -> StoreUnavailableError:
    """Commit, and return the error."""
    with pytest.raises(StoreUnavailableError) as caught:
        store.commit(before, after, ())
    assert caught.value.failure.reason is Reason.STORE_UNAVAILABLE
    return caught.value


def grow(state: State, megabytes: int) -> State:
    """Return the next state, with a large label on its model."""
    model = replace(state.models["m"], labels=(("big", "x" * megabytes * 2**20),))
    return replace(state, models=MappingProxyType({**state.models, "m": model}), store_epoch=state.store_epoch + 1)


@contextmanager
def small_disk(path: Path) -> Iterator[Path]:
    """Mount a file system of 1 MiB; skip where that is not permitted."""
    path.mkdir()
    mount = shutil.which("mount")
    if (
        mount is None
        or subprocess.run(
            [mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", path], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("mounting a small file system is not permitted here; RLIMIT_FSIZE is tried in any case")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)  # noqa: S607 - wherever the system has it


def test_a_full_disk_changes_nothing(tmp_path: Path, story: ModuleType) -> None:
    """On a file system without room a commit fails, the old state stays, and small commits go on once there is room."""
    with small_disk(tmp_path / "disk") as disk:
        store = SqlStore.open(disk / "state")
        old = story.state_at(1)
        store.commit(store.load(), old, ())
        assert "full" in refuse(store, old, grow(old, 2)).failure.message
        (disk / "filler").write_bytes(b"x" * (shutil.disk_usage(disk).free))
        refuse(store, old, grow(old, 1))
        assert store.load() == old
        (disk / "filler").unlink()
        store.commit(old, story.state_at(2), ())
        store.close()
        again = SqlStore.open(disk / "state")
        assert again.load() == story.state_at(2)
        again.close()


def test_a_file_that_may_not_grow_changes_nothing(state_dir: Path, story: ModuleType) -> None:
    """A process whose files may not grow (RLIMIT_FSIZE) is refused at some epoch; the store is at the one before it."""
    run = story_process(state_dir, str(256 * 1024))
    lines = run.communicate(timeout=60)[0].splitlines()
    assert run.returncode == 0
    assert lines[-1].startswith("refused the store cannot be written")
    store = SqlStore.open(state_dir)
    found = store.load()
    assert found == story.state_at(int(lines[-2]))
    store.commit(found, story.state_at(found.store_epoch + 1), ())
    store.close()


def test_a_database_at_its_largest_changes_nothing(store: SqlStore, story: ModuleType) -> None:
    """A commit that fails in its middle leaves nothing of itself: neither epoch, nor rows, nor announces."""
    old = story.state_at(1)
    store.commit(store.load(), old, story.announces_at(1))

    def limit(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA max_page_count=60")

    store.close()
    sa.event.listen(store._engine, "connect", limit)
    with pytest.raises(StoreUnavailableError, match="full"):
        store.commit(old, grow(old, 1), story.announces_at(2))
    sa.event.remove(store._engine, "connect", limit)
    assert store.load() == old
    assert store.announces_after(0, 10) == story.announces_at(1)
    store.commit(old, grow(old, 1), story.announces_at(2))


@contextmanager
def without_root() -> Iterator[Path]:
    """Yield a directory with a new store, of somebody for whom file modes count, and be that somebody.

    The store is made by whoever runs the tests: the checkout with the migrations may be readable by them alone.
    """
    folder = Path(tempfile.mkdtemp())
    SqlStore.open(folder / "state").close()
    root = os.geteuid() == 0
    if root:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        shutil.rmtree(folder)


def test_a_read_only_file_is_read_and_not_written(story: ModuleType) -> None:
    """A database without write permission refuses commits, can still be loaded, and works again when it is writable."""
    with without_root() as folder:
        store = SqlStore.open(folder / "state")
        old, new = story.state_at(1), story.state_at(2)
        store.commit(store.load(), old, ())
        store.close()
        database = folder / "state" / DATABASE_NAME
        database.chmod(0o400)
        assert "readonly" in refuse(store, old, new).failure.message
        assert store.load() == old
        store.close()  # the connection that was opened to read keeps to that
        for file in database.parent.iterdir():  # SQLite made the journal's files with the database's mode
            file.chmod(0o600)
        store.commit(old, new, ())
        assert store.load() == new
        store.close()


@pytest.mark.long
def test_a_locked_database_is_refused_after_the_timeout(store: SqlStore, state_dir: Path, story: ModuleType) -> None:
    """A foreign transaction that holds the file makes a commit fail within a few seconds, and harmless."""
    foreign = sqlite3.connect(state_dir / DATABASE_NAME, isolation_level=None)
    start = store.load()
    foreign.execute("BEGIN IMMEDIATE")
    assert "locked" in refuse(store, start, story.state_at(1)).failure.message
    foreign.execute("ROLLBACK")
    foreign.close()
    store.commit(start, story.state_at(1), ())


def test_a_second_writer_is_named_and_refused(store: SqlStore, state_dir: Path, story: ModuleType) -> None:
    """The swap of the epoch lets one of two writers win; the other one learns who it was and writes nothing."""
    other = SqlStore(SqlStore.open(state_dir)._engine, writer="process 4711")
    start = other.load()
    assert store.load() == start
    other.commit(start, story.state_at(1), ())
    message = refuse(store, start, replace(story.state_at(2), store_epoch=1)).failure.message
    assert "another writer was there: expected epoch 0, found epoch 1, written by process 4711" in message
    assert store.load() == story.state_at(1)
    other.close()


@pytest.mark.parametrize("epoch", [0, 1])
def test_an_epoch_that_does_not_follow_is_refused(store: SqlStore, story: ModuleType, epoch: int) -> None:
    """A commit without a newer epoch could not be told from a repeated one."""
    one = story.state_at(1)
    store.commit(store.load(), one, ())
    refuse(store, one, replace(story.state_at(2), store_epoch=epoch))
    assert store.load() == one


def test_what_a_lost_commit_changed_goes_with_the_next_one(store: SqlStore, story: ModuleType) -> None:
    """After a refused commit the next one, from the same epoch, writes everything since the last that was written."""
    one, two, three = (story.state_at(epoch) for epoch in (1, 8, 17))
    store.commit(store.load(), one, ())
    refuse(store, replace(one, store_epoch=5), two)
    # The loop went on in memory: its "before" has the changes of the lost commit, under the epoch that the store is at.
    store.commit(replace(two, store_epoch=1), three, ())
    assert store.load() == three


def altered_history(state: State) -> State:
    """Return the next state with its rollout's first history entry changed."""
    model = state.models["m"]
    assert model.rollout is not None
    entry = replace(model.rollout.history[0], text="it was not me")
    rollout = replace(model.rollout, history=(entry, *model.rollout.history[1:]))
    return replace(
        state, models=MappingProxyType({"m": replace(model, rollout=rollout)}), store_epoch=state.store_epoch + 1
    )


def misplaced(state: State) -> State:
    """Return the next state with a model under another's name."""
    return replace(state, models=MappingProxyType({"n": state.models["m"]}), store_epoch=state.store_epoch + 1)


def half_a_character(state: State) -> State:
    """Return the next state with an id that no encoding has."""
    model = replace(state.models["m"], serving_version="\ud800")
    return replace(state, models=MappingProxyType({"m": model}), store_epoch=state.store_epoch + 1)


def beyond_64_bits(state: State) -> State:
    """Return the next state with a number that no column holds."""
    return replace(state, reservation_epoch=2**64, store_epoch=state.store_epoch + 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (altered_history, "history of rollout r0: entry 1 was altered"),
        (misplaced, "m lies under the key n"),
        (half_a_character, "surrogates not allowed"),
        (beyond_64_bits, "too large"),
    ],
)
def test_states_that_cannot_be_stored_are_refused(
    store: SqlStore, story: ModuleType, change: Callable[[State], State], message: str
) -> None:
    """A state that would not come back as it is is refused as a whole, with the reason."""
    old = story.state_at(3)
    store.commit(store.load(), old, ())
    assert message in refuse(store, old, change(old)).failure.message
    assert store.load() == old


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE models SET document = '{\"colour\": 1}'", "models m: Model has no field 'colour'"),
        ("UPDATE models SET create_time_s = 'noon'", "models: a row's create_time_s is str"),
        ("UPDATE models SET model_id = CAST(x'ff' AS TEXT)", "Could not decode to UTF-8"),
        ("UPDATE models SET model_id = x'00'", "models: a row's model_id is bytes"),
        ("UPDATE meta SET store_epoch = 'many'", "meta: a row's store_epoch is str"),
        ("UPDATE instances SET ordinal = 'first'", "instances: a row's ordinal is str"),
        ("UPDATE rollouts SET stage = 1.5", "rollouts: a row's stage is float"),
        ("UPDATE operations SET done = 'yes'", "operations: a row's done is str"),
        ("ALTER TABLE operations DROP COLUMN done", "no such column"),
        ("DROP TABLE readings", "no such table"),
        ("UPDATE versions SET document = '{}'", "versions m/v0: field '"),
        ("UPDATE versions SET document = '{'", "Expecting property name"),
        ("UPDATE instances SET state = 'ASLEEP'", "instances m/v0/0: state: 'ASLEEP' is not one of InstanceState"),
        ("UPDATE rollouts SET document = '[]'", "rollouts m/r0: the document is not an object"),
        ("UPDATE rollout_events SET document = '{\"phase\": 1}'", "or repeats a column"),
        ("DELETE FROM meta", "its epochs are missing"),
    ],
)
def test_rows_of_another_hand_are_not_believed(
    store: SqlStore, state_dir: Path, story: ModuleType, statement: str, message: str
) -> None:
    """A row that this daemon would not write makes load fail with the row's name, never with a guess nor with "try again"."""
    store.commit(store.load(), story.state_at(3), ())
    with sqlite3.connect(state_dir / DATABASE_NAME) as foreign:
        foreign.execute(statement)
    foreign.close()
    with pytest.raises(StoreCorruptError) as caught:
        store.load()
    assert message in str(caught.value)
    assert "try again" not in str(caught.value)
    assert caught.value.failure.retry_delay_s is None


def test_a_file_that_is_no_database_is_called_corrupt(state_dir: Path) -> None:
    """A file of noise is refused when it is opened, and not written over."""
    state_dir.mkdir(mode=0o700)
    noise = os.urandom(8192)
    (state_dir / DATABASE_NAME).write_bytes(noise)
    with pytest.raises(StoreCorruptError, match="not a database"):
        SqlStore.open(state_dir)
    assert (state_dir / DATABASE_NAME).read_bytes() == noise


def test_errors_show_no_path_and_no_value(store: SqlStore, state_dir: Path, story: ModuleType) -> None:
    """Callers see these messages: neither the directory nor a statement nor a value is in them."""
    start = store.load()
    store.close()
    shutil.rmtree(state_dir)
    message = refuse(store, start, story.state_at(1)).failure.message
    assert "unable to open database file" in message
    assert str(state_dir) not in message
    assert "INSERT" not in message
    assert "UPDATE" not in message


def test_announces_are_kept_for_those_who_come_back(store: SqlStore) -> None:
    """The newest 10,000 announces stay, in order, and are read in pieces from any sequence on."""
    state = store.load()
    for start in range(1, ANNOUNCES_RETAINED + 2_001, 4_000):
        batch = tuple(Announce(n, n / 8, "models/m", "STAGE", f"n {n}\n") for n in range(start, start + 4_000))
        after = replace(state, store_epoch=state.store_epoch + 1, announce_sequence=start + 3_999)
        store.commit(state, after, batch)
        state = after
    assert [announce.sequence for announce in store.announces_after(0, 3)] == [2_001, 2_002, 2_003]
    assert store.announces_after(11_999, 10) == (Announce(12_000, 1_500.0, "models/m", "STAGE", "n 12000\n"),)
    assert store.announces_after(12_000, 10) == ()
    assert len(store.announces_after(0, 20_000)) == ANNOUNCES_RETAINED


def story_process(state_dir: Path, *options: str) -> subprocess.Popen[str]:
    """Start the program that commits until it is killed or refused."""
    command = [sys.executable, str(Path(__file__).with_name("story.py")), str(state_dir), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.long
def test_kill_9_in_the_middle_of_commits_leaves_whole_states(state_dir: Path, story: ModuleType) -> None:
    """A writer that is killed again and again, at any moment, leaves a whole state: no acknowledged commit is lost, none is half there."""
    acknowledged = 0
    for commits_before_kill in (1, 7, 31, 64, 100):
        with story_process(state_dir) as writer:
            assert writer.stdout is not None
            for _ in range(commits_before_kill):
                acknowledged = int(writer.stdout.readline())
            writer.kill()
            for line in writer.stdout:
                acknowledged = int(line)
        store = SqlStore.open(state_dir)
        found = store.load()
        announced = store.announces_after(0, ANNOUNCES_RETAINED)
        store.close()
        assert found.store_epoch in {acknowledged, acknowledged + 1}
        assert found == story.state_at(found.store_epoch)
        assert [announce.sequence for announce in announced] == list(range(1, found.store_epoch + 1))
