"""SQLAlchemy engines as the store needs them, and what their errors mean to a caller."""

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


def sqlite_engine(path: Path, files: OpenedFiles | None = None) -> sa.Engine:
    """Return an engine on a SQLite file: WAL, fsync on every commit, foreign keys, explicit transactions.

    ``files``: what watches over the files that its connections open.
    """
    engine = make_engine(sa.URL.create("sqlite", database=str(path)), connect_args={"factory": WeakConnection})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    if files is not None:
        files.follow(engine)
    return engine


def make_engine(url: sa.URL, **options: Any) -> sa.Engine:  # noqa: ANN401 - SQLAlchemy's own
    """Return an engine that writes documents as strict, compact JSON."""
    return sa.create_engine(url, json_serializer=_to_json, hide_parameters=True, **options)


def unavailable(error: Exception) -> StoreUnavailableError:
    """Say in the store's terms what went wrong. Without statements, values and paths: callers see it."""
    if isinstance(error, exc.DBAPIError) and error.orig is not None:
        detail = str(error.orig)
        if getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in _CORRUPT_CODES:
            return StoreCorruptError(detail)
        return StoreUnavailableError(detail)
    if isinstance(error, OSError):
        return StoreUnavailableError(error.strerror or type(error).__name__)
    return StoreUnavailableError(str(error))


def _to_json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # sqlite3's own handling of transactions begins none before DDL, so a migration could stay half done; see _begin_sqlite.
    connection.isolation_level = None
    cursor = connection.cursor()
    try:
        cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        # Opens the write-ahead log, which SQLite leaves for the first time that something is read.
        cursor.execute("SELECT count(*) FROM sqlite_master").fetchall()
    finally:
        cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN")
