"""SQLAlchemy engines as the store needs them, and the meaning of their errors."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc

from echoplaned.core.errors import StoreUnavailableError
from echoplaned.store.errors import StoreCorruptError
from echoplaned.store.opened_files import OpenedFiles, WeakConnection

BUSY_TIMEOUT_MS = 2_000
"""How long a commit waits for a foreign reader or backup to let go of the file."""

_CORRUPT_CODES = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_UNREADABLE_CODES = frozenset({0, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_MISMATCH})
"""What reading meets where tables or text are damaged. 0: sqlite3 itself could make nothing of a value."""


def sqlite_engine(path: Path, files: OpenedFiles | None = None) -> sa.Engine:
    """Return an engine on a SQLite file that syncs every commit.

    It has WAL, fsync on every commit, foreign keys and explicit transactions.

    Args:
        path: the database file.
        files: what watches over the files that its connections open; None: nobody does.
    """
    engine = make_engine(sa.URL.create("sqlite", database=str(path)), connect_args={"factory": WeakConnection})
    event.listen(engine, "connect", _prepare_sqlite)
    use_explicit_transactions(engine)
    if files is not None:
        files.follow(engine)
    return engine


def use_explicit_transactions(engine: sa.Engine) -> None:
    """Have transactions begin where SQLAlchemy begins them.

    sqlite3's own handling begins none before DDL, so a migration could stay half done.
    """
    event.listen(engine, "connect", _leave_transactions)
    event.listen(engine, "begin", _begin_sqlite)


def make_engine(url: sa.URL, **options: Any) -> sa.Engine:  # noqa: ANN401 - SQLAlchemy's own
    """Return an engine that writes documents as strict, compact JSON."""
    return sa.create_engine(url, json_serializer=_to_json, hide_parameters=True, **options)


def unavailable(error: Exception) -> StoreUnavailableError:
    """Return a database's error as the store's own.

    Without statements, values and paths: callers see it.
    """
    if isinstance(error, exc.DBAPIError) and error.orig is not None:
        return _of_driver(error.orig)
    if isinstance(error, sqlite3.Error):
        return _of_driver(error)
    if isinstance(error, OSError):
        return StoreUnavailableError(error.strerror or type(error).__name__)
    return StoreUnavailableError(str(error))


def unreadable(error: Exception) -> StoreUnavailableError:
    """Return an error from reading a whole state as the store's own.

    What cannot be made sense of is damage, and stays so.
    """
    driver = error.orig if isinstance(error, exc.DBAPIError) else error
    if isinstance(driver, sqlite3.Error):
        is_damage = _code(driver) in _UNREADABLE_CODES
    else:
        is_damage = isinstance(error, ValueError | TypeError | OverflowError)
    return StoreCorruptError(str(driver)) if is_damage else unavailable(error)


def _of_driver(error: BaseException) -> StoreUnavailableError:
    is_corrupt = _code(error) in _CORRUPT_CODES
    return StoreCorruptError(str(error)) if is_corrupt else StoreUnavailableError(str(error))


def _code(error: BaseException) -> int:
    """Return SQLite's primary result code; 0: it has none."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _to_json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    cursor = connection.cursor()
    try:
        cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        # KiB, where SQLite would take 2,000 in the end: what is stored is in the loop's state, and is read at the start alone.
        cursor.execute("PRAGMA cache_size=-128")
        # Opens the write-ahead log, which SQLite leaves for the first time that something is read.
        cursor.execute("SELECT count(*) FROM sqlite_master").fetchall()
    finally:
        cursor.close()


def _leave_transactions(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None


def _begin_sqlite(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN")
