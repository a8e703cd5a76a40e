"""The state directory: private to its owner, and one daemon's at a time."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import Self

from echoplaned.core.numbers import read_whole
from echoplaned.store.errors import StateDirError, StateDirLockedError

LOCK_NAME = "daemon.lock"
_PRIVATE = 0o700


def prepare_state_dir(path: Path) -> None:
    """Create the directory, or make sure that nobody else can look into it.

    A directory that others can enter is only tightened where it is surely the daemon's: empty, or with its lock file in it.

    Raises:
        StateDirError: it cannot be made, is somebody else's, or others can enter it.
    """
    try:
        path.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        found = path.stat()
        if found.st_uid != os.geteuid():
            raise StateDirError(path, "it belongs to another user")
        if stat.S_IMODE(found.st_mode) & 0o077:
            if any(path.iterdir()) and not (path / LOCK_NAME).is_file():
                raise StateDirError(
                    path, "others can enter it and it holds other things: chmod 700, or name an own one"
                )
            path.chmod(_PRIVATE)
    except OSError as error:
        raise StateDirError(path, error.strerror or type(error).__name__) from error


class StateDirLock:
    """A lock on a state directory, held while the process lives.

    The kernel lets go of it when the process ends, however it ends.
    The descriptor is closed on exec, so an engine that outlives the daemon does not hold it. Never unlinked: a lock on a file
    without a name keeps nobody out.
    """

    def __init__(self, state_dir: Path) -> None:
        """Take the lock at once.

        Raises:
            StateDirLockedError: another process has it.
            StateDirError: the lock file cannot be opened.
        """
        try:
            self._descriptor = _open_lock(state_dir / LOCK_NAME)
        except OSError as error:
            raise StateDirError(state_dir, error.strerror or type(error).__name__) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _note_holder(self._descriptor)
        except BlockingIOError as error:
            pid = _read_pid(self._descriptor)
            os.close(self._descriptor)
            raise StateDirLockedError(state_dir, pid) from error
        except OSError as error:
            os.close(self._descriptor)
            raise StateDirError(state_dir, error.strerror or type(error).__name__) from error

    @property
    def identity(self) -> os.stat_result | None:
        """Which file is locked; None: it was let go of."""
        return os.fstat(self._descriptor) if self._descriptor >= 0 else None

    def release(self) -> None:
        """Let go of the directory; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _open_lock(path: Path) -> int:
    """Open the lock file, and create it where there is none.

    On a disk that may only be read, one that is there is enough to hold.
    """
    flags = os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, flags | os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        return os.open(path, flags | os.O_RDONLY)


def _note_holder(descriptor: int) -> None:
    """Write into the lock file who holds it, for the next one's error message.

    A disk without room leaves it out.
    """
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def _read_pid(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
    return read_whole(text)
