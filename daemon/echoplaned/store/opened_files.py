"""Whether the files that a daemon opened still bear their names.

What is written to a file without a name is lost.
"""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final, Self
from weakref import WeakSet

import sqlalchemy as sa
from sqlalchemy import event

from echoplaned.store.directory import LOCK_NAME, StateDirLock
from echoplaned.store.errors import FilesReplacedError

WAL_SUFFIX: Final = "-wal"
_DIRECTORY: Final = "the state directory"


@dataclass(frozen=True, slots=True)
class FileId:
    """Which file it is, whatever its name.

    A number is not used again while somebody has the file open, and each file here is held open.

    Attributes:
        device: number of the device that the file lies on (``st_dev``).
        inode: number of the file on its device (``st_ino``).
    """

    device: int
    inode: int

    @classmethod
    def of(cls, found: os.stat_result) -> Self:
        """Return the id of the file that a status describes."""
        return cls(found.st_dev, found.st_ino)


class WeakConnection(sqlite3.Connection):
    """A connection that can be watched without being kept alive."""


class OpenedFiles:
    """Compares the store's files with what they were when they were opened.

    They are the directory, the database, its write-ahead log and the lock.
    The write-ahead log is made anew whenever SQLite has no connection left, so it is known only while there is one. May be called from
    any thread.

    Args:
        database: the database; its directory is the state directory.
        lock: the lock that is held on the directory; None: there is none to compare.
    """

    def __init__(self, database: Path, lock: StateDirLock | None = None) -> None:
        self._database = database
        self._wal = database.with_name(database.name + WAL_SUFFIX)
        self._held = lock
        self._known: dict[Path, FileId] = {}
        self._connections: WeakSet[WeakConnection] = WeakSet()
        self._directory = -1
        self._guard = Lock()

    def follow(self, engine: sa.Engine) -> None:
        """Learn from an engine's connections which files they have open.

        None may be opened on files of others: the files are compared before each connection.
        """
        event.listen(engine, "do_connect", lambda *_: self.check())
        event.listen(engine, "connect", self._connected)
        event.listen(engine, "close", self._closed)

    def check(self) -> None:
        """Compare the files with those that were opened.

        Raises:
            FilesReplacedError: one of them has gone, or is another one.
        """
        with self._guard:
            self._compare()

    @property
    def lost_log(self) -> bool:
        """Whether the write-ahead log alone has lost its name.

        What is in it can then still be brought into the database.
        """
        with self._guard:
            return not self._is_same(self._wal) and all(map(self._is_same, (self._database.parent, self._database)))

    def reset(self) -> None:
        """Forget and close everything: the next connection is the first."""
        with self._guard:
            self._known.clear()
            self._connections.clear()
            if self._directory >= 0:
                os.close(self._directory)
                self._directory = -1

    def _compare(self) -> None:
        for path, name in ((self._database.parent, _DIRECTORY), *((p, p.name) for p in (self._database, self._wal))):
            if not self._is_same(path):
                raise FilesReplacedError(name)
        held = self._held.identity if self._held is not None else None
        if held is not None and _find(self._database.with_name(LOCK_NAME)) != FileId.of(held):
            raise FilesReplacedError(LOCK_NAME)

    def _is_same(self, path: Path) -> bool:
        if path == self._wal and not self._connections:
            return True
        known = self._known.get(path)
        return known is None or _find(path) == known

    def _connected(self, connection: WeakConnection, _record: object) -> None:
        with self._guard:
            if self._directory < 0:
                self._directory = os.open(self._database.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                self._known[self._database.parent] = FileId.of(os.fstat(self._directory))
            if not self._connections:
                self._known.pop(self._wal, None)
            self._connections.add(connection)
            for path in (self._database, self._wal):
                found = _find(path)
                if found is not None:
                    self._known.setdefault(path, found)

    def _closed(self, connection: WeakConnection, _record: object) -> None:
        with self._guard:
            self._connections.discard(connection)


def _find(path: Path) -> FileId | None:
    """Return which file bears a name; None: none does, or it cannot be reached."""
    try:
        return FileId.of(path.stat())
    except OSError:
        return None
