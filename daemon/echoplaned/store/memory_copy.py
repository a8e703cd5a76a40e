"""A copy in memory of a database that cannot be written.

A daemon reads from it until there is room again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Lock
from typing import Final

import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

from echoplaned.store.engine import BUSY_TIMEOUT_MS, make_engine, use_explicit_transactions
from echoplaned.store.migrate import migrate
from echoplaned.store.opened_files import WAL_SUFFIX
from echoplaned.store.soundness import check_soundness

_WAYS: Final = (
    # A full disk has no room for the index of the log, which others would share: held alone, it is kept in memory.
    ("mode=rw", "PRAGMA locking_mode=EXCLUSIVE"),
    # On a disk that may only be read, what another process left is enough for that.
    ("mode=ro", ""),
)
_WITHOUT_LOG: Final = ("mode=ro&immutable=1", "")
"""Only where there is no log: SQLite does not look for one."""


class MemoryCopy:
    """The database as it was, brought to the newest schema, in memory.

    One reader at a time, from any thread.

    Attributes:
        has_file: whether there was a file; where there was none, the copy is an empty database.

    Args:
        database: the file.

    Raises:
        StoreCorruptError: what it holds is damaged.
        sqlite3.Error, sqlalchemy.exc.SQLAlchemyError: it cannot be read.
    """

    def __init__(self, database: Path) -> None:
        self._guard = Lock()
        copy = sqlite3.connect(":memory:", check_same_thread=False)
        try:
            self.has_file = database.exists()
            if self.has_file and database.stat().st_size:
                _fill(copy, database)
            self._engine = make_engine(sa.URL.create("sqlite"), creator=lambda: copy, poolclass=StaticPool)
            use_explicit_transactions(self._engine)
            check_soundness(self._engine)
            migrate(self._engine)
        except BaseException:
            copy.close()
            raise

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """Open a transaction to read from the copy."""
        with self._guard, self._engine.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close the copy and free its memory."""
        with self._guard:
            self._engine.dispose()


def _fill(copy: sqlite3.Connection, database: Path) -> None:
    log = database.with_name(database.name + WAL_SUFFIX)
    has_log = log.exists() and log.stat().st_size > 0
    for options, pragma in _WAYS if has_log else (*_WAYS, _WITHOUT_LOG):
        try:
            with closing(_open(f"{database.as_uri()}?{options}")) as source:
                source.execute(pragma)
                # Takes the lock: a backup that does not get it waits for ever.
                source.execute("BEGIN")
                source.execute("SELECT count(*) FROM sqlite_master").fetchone()
                source.backup(copy)
        except sqlite3.Error as error:
            failure = error
        else:
            return
    raise failure


def _open(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_MS / 1000)
