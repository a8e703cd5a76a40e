"""The store: the state in a database, one transaction a step.

Each is guarded by a compare-and-swap on the store's epoch.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import sqlalchemy as sa
import structlog
from sqlalchemy import RowMapping, exc

from echoplaned.core.effects import Announce
from echoplaned.core.errors import StoreUnavailableError
from echoplaned.core.state import State
from echoplaned.ports.moment import Moment, Now
from echoplaned.store import schema
from echoplaned.store.diff import changes_between
from echoplaned.store.directory import StateDirLock, prepare_state_dir
from echoplaned.store.engine import sqlite_engine, unavailable, unreadable
from echoplaned.store.errors import FilesReplacedError, StoreCorruptError
from echoplaned.store.memory_copy import MemoryCopy
from echoplaned.store.migrate import migrate
from echoplaned.store.opened_files import OpenedFiles
from echoplaned.store.ranges import TIME, check_range
from echoplaned.store.read import read_sound_state
from echoplaned.store.rows import ANNOUNCES
from echoplaned.store.soundness import check_row, check_soundness, raw_columns
from echoplaned.store.write import append_announces, write_changes

DATABASE_NAME = "echoplane.db"

log = structlog.get_logger(__name__)


class SqlStore:
    """The ``Store`` port on SQLAlchemy.

    Used by one thread at a time, except ``announces_after``, which any may call.

    ``writer`` names this process in the database, so that a second writer can be told who was there.
    """

    def __init__(
        self, engine: sa.Engine, *, writer: str = "", files: OpenedFiles | None = None, now: Now | None = None
    ) -> None:
        self._engine = engine
        self._now = now
        self._files = files
        self._writer = writer or f"process {os.getpid()}"
        self._committed: State | None = None
        self._rescued = False
        self._path: Path | None = None
        self._copy: MemoryCopy | None = None
        self._unsure: _Unsure | None = None

    @classmethod
    def open(cls, state_dir: Path, lock: StateDirLock | None = None, now: Now | None = None) -> Self:
        """Open the SQLite store of a state directory.

        The directory, the file and the schema are created where there are none.

        A database that can be read and not written (a full disk, one that is mounted read-only) is read into memory: loads work, and
        commits are refused until it can be written.

        ``lock``: what keeps others out; that it still does is looked at with every commit. ``now``: read and kept with every commit;
        None: no moments are kept.

        Raises:
            StateDirError: the directory cannot be used.
            StoreUnavailableError: the database cannot be opened, or its schema not be brought up to date.
        """
        prepare_state_dir(state_dir)
        path = state_dir / DATABASE_NAME
        files = OpenedFiles(path, lock)
        store = cls(sqlite_engine(path, files), files=files, now=now)
        try:
            store._open(path)
        except StoreUnavailableError:
            store.close()
            raise
        return store

    def load(self) -> State:
        """Return the stored state.

        What is only observed (devices, progress, issued effects) is empty in it.

        Raises:
            StoreUnavailableError: the store cannot be read; StoreCorruptError, if trying again cannot help.
        """
        with _translated(unreadable), self._reading() as connection:
            state = read_sound_state(connection)
        self._committed, self._unsure = state, None
        return state

    def commit(self, before: State, after: State, announces: tuple[Announce, ...]) -> None:
        """Write what differs between two states, in one transaction.

        Only if the store is still at ``before.store_epoch``.

        Compared with what was written last, not with ``before``: what changed between the two without a commit of its own is
        written as well.

        Raises:
            StoreUnavailableError: nothing was written.
        """
        last = self._committed
        base = last if last is not None and last.store_epoch == before.store_epoch else before
        try:
            self.check()
            with _translated():
                changes = changes_between(base, after)
                with self._engine.begin() as connection:
                    self._swap_epoch(connection, before.store_epoch, after)
                    self._unsure = _Unsure(base, after)
                    write_changes(connection, changes)
                    append_announces(connection, announces)
                # Before anybody is told that it is written: what lost its name meanwhile took this commit with it.
                self._check_files()
        except FilesReplacedError:
            raise
        except StoreUnavailableError:
            # A connection keeps what it saw when it was opened (a file that could only be read, say): begin with a fresh one.
            self._engine.dispose()
            raise
        self._committed, self._unsure = after, None

    def check(self) -> None:
        """Check that the files are still those that were opened.

        What could only be read so far is opened for writing, if that can be done by now. A commit that was refused and is found in
        files that have come back is undone.

        Raises:
            FilesReplacedError: they are not; nothing may be written.
            StoreUnavailableError: the database can still not be written.
        """
        if self._copy is not None and self._path is not None:
            if self._copy.has_file and not self._path.exists():
                raise FilesReplacedError(self._path.name)
            self._open_for_writing(self._path)
        self._check_files()
        self._take_back()

    def _open(self, path: Path) -> None:
        """Open the database for writing, or else copy it into memory.

        Routes and reads do not wait for room on a disk.
        """
        try:
            self._open_for_writing(path)
        except (StoreCorruptError, FilesReplacedError):
            raise
        except StoreUnavailableError as error:
            with _translated():
                self._copy = MemoryCopy(path)
            self._path = path
            log.error("store.read_only", detail=str(error))  # noqa: TRY400 - a state of the disk, not a mistake

    def _open_for_writing(self, path: Path) -> None:
        try:
            with _translated():
                _create_private(path)
                check_soundness(self._engine)
                migrate(self._engine)
        except StoreUnavailableError:
            self._engine.dispose()
            raise
        copy, self._copy = self._copy, None
        if copy is not None:
            copy.close()
            log.info("store.writable")

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Read within a transaction, for tables that are not the state's; from any thread.

        Raises:
            StoreUnavailableError: the store cannot be read.
        """
        with _translated(unreadable), self._reading() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Write within a transaction, for other tables than the state's.

        Any thread may.

        Raises:
            StoreUnavailableError: nothing was written.
        """
        if self._copy is not None:
            raise StoreUnavailableError("it can only be read so far")
        if self._files is not None:
            self._files.check()
        with _translated(), self._engine.begin() as connection:
            yield connection
        if self._files is not None:
            self._files.check()

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        """Read within a transaction, from the database or from its copy."""
        with (self._copy or self._engine).begin() as connection:
            yield connection

    def _check_files(self) -> None:
        """Compare the files with those that were opened.

        A write-ahead log without a name would take with it what was committed and is not yet in the database: it is brought there.

        Raises:
            FilesReplacedError: one has gone, or is another one.
        """
        if self._files is None:
            return
        try:
            self._files.check()
        except FilesReplacedError:
            if self._files.lost_log and not self._rescued:
                self._rescued = True
                self._checkpoint()
            raise
        self._rescued = False

    def _checkpoint(self) -> None:
        """Bring what was committed from the write-ahead log into the database."""
        try:
            with _translated(), self._engine.connect() as connection:
                _busy, pages, done = connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").one()
        except StoreUnavailableError as error:
            log.error("store.log_lost", detail=str(error))  # noqa: TRY400 - a state of the disk, not a mistake
        else:
            log.error("store.log_lost", pages=pages, pages_rescued=done)

    def _take_back(self) -> None:
        """Undo the last commit if it was refused and is there nevertheless.

        It may be: its files lost their names while it was written, and have them again.
        """
        if self._unsure is None:
            return
        base, after = self._unsure.before, self._unsure.after
        with _translated():
            changes = changes_between(after, base)
            with self._engine.begin() as connection:
                is_there = self._set_epochs(connection, after.store_epoch, base, schema.meta.c.writer == self._writer)
                if is_there:
                    write_changes(connection, changes)
                    later = schema.announces.c.sequence > base.announce_sequence
                    connection.execute(sa.delete(schema.announces).where(later))
        self._check_files()
        self._unsure = None
        if is_there:
            log.warning("store.commit_undone", store_epoch=after.store_epoch)

    def announces_after(self, sequence: int, limit: int) -> tuple[Announce, ...]:
        """Return at most ``limit`` announces that follow ``sequence``, oldest first.

        The newest 10,000 are kept: a first one beyond ``sequence + 1`` says that some are gone.

        Raises:
            StoreUnavailableError: the store cannot be read.
        """
        table = schema.announces
        query = (
            sa.select(*raw_columns(table)).where(table.c.sequence > sequence).order_by(table.c.sequence).limit(limit)
        )
        with _translated(unreadable), self._reading() as connection:
            rows = connection.execute(query).mappings().all()
        return tuple(map(_announce, rows))

    def last_moment(self) -> Moment | None:
        """Return the moment of the newest commit; None: it is not known.

        Raises:
            StoreUnavailableError: the store cannot be read.
        """
        with _translated(unreadable), self._reading() as connection:
            found = connection.execute(sa.select(*raw_columns(schema.meta))).mappings().one()
        row = check_row(schema.meta, dict(found))
        if row["commit_time_s"] is None or not row["boot_id"]:
            return None
        for name in ("commit_time_s", "boot_s"):
            check_range(f"{schema.meta.name}: {name}", row[name] or 0.0, TIME)
        return Moment(row["commit_time_s"], row["boot_id"], row["boot_s"] or 0.0)

    def close(self) -> None:
        """Close the database; the store can still be used, and opens it again."""
        self._engine.dispose()
        if self._copy is not None:
            self._copy.close()
        if self._files is not None:
            self._files.reset()

    def _swap_epoch(self, connection: sa.Connection, expected: int, after: State) -> None:
        """Move the epochs on, unless another writer did.

        It is the first statement of a commit, so that it takes the write lock before anything else is done.
        """
        table = schema.meta
        if after.store_epoch <= expected:
            raise StoreUnavailableError(f"epoch {after.store_epoch} does not follow {expected}")
        if self._set_epochs(connection, expected, after):
            return
        row = connection.execute(sa.select(table.c.store_epoch, table.c.writer)).one_or_none()
        found = "no epoch" if row is None else f"epoch {row.store_epoch}, written by {row.writer or 'nobody'}"
        raise StoreUnavailableError(f"another writer was there: expected epoch {expected}, found {found}")

    def _set_epochs(
        self, connection: sa.Connection, expected: int, state: State, *conditions: sa.ColumnElement[bool]
    ) -> bool:
        """Write a state's epochs if the store is at the expected one; say whether it is."""
        table = schema.meta
        swap = sa.update(table).where(table.c.meta_id == schema.META_ID, table.c.store_epoch == expected, *conditions)
        moment = self._now() if self._now is not None else None
        epochs = {
            "store_epoch": state.store_epoch,
            "reservation_epoch": state.reservation_epoch,
            "route_epoch": state.route_epoch,
            "announce_sequence": state.announce_sequence,
            "writer": self._writer,
            "commit_time_s": None if moment is None else moment.time_s,
            "boot_id": None if moment is None else moment.boot_id,
            "boot_s": None if moment is None else moment.boot_s,
        }
        return connection.execute(swap, epochs).rowcount == 1


@dataclass(frozen=True, slots=True)
class _Unsure:
    """A commit that was begun and not seen to its end.

    Attributes:
        before: what was written before it.
        after: what it writes.
    """

    before: State
    after: State


def _create_private(path: Path) -> None:
    """Create the database file before SQLite does, for its owner only.

    The journal files take over its mode.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextmanager
def _translated(say: Callable[[Exception], StoreUnavailableError] = unavailable) -> Iterator[None]:
    """Turn what the database, the system and the codec raise into the store's error."""
    try:
        yield
    except (exc.SQLAlchemyError, sqlite3.Error, OSError, ValueError, TypeError, OverflowError) as error:
        # ValueError: values that no column takes (a lone surrogate, a document that is no JSON). OverflowError: beyond 64 bits.
        raise say(error) from error


def _announce(row: RowMapping) -> Announce:
    """Read an announce.

    Raises:
        StoreCorruptError: the row is not what this daemon writes.
    """
    checked = check_row(schema.announces, dict(row))
    announce = ANNOUNCES.value(checked, {"sequence": checked["sequence"]})
    ANNOUNCES.check((announce.sequence,), announce)
    return announce
