"""A folder that is mounted read-only for a while."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class MountDeniedError(Exception):
    """This user may not mount."""


@contextmanager
def mounted_read_only(folder: Path) -> Iterator[Callable[[], None]]:
    """Mount a folder over itself, read-only; yield what makes it writable again. Files that are open stay as they were.

    Raises:
        MountDeniedError: this user may not; nothing was changed.
    """
    path = str(folder)
    if not _mount("--bind", path, path):
        raise MountDeniedError
    try:
        if not _mount("-o", "remount,bind,ro", path):
            raise MountDeniedError
        yield lambda: _make_writable(path)
    finally:
        subprocess.run(["umount", "-l", path], check=True)  # noqa: S607 - wherever it is


def _make_writable(path: str) -> None:
    assert _mount("-o", "remount,bind,rw", path)


def _mount(*options: str) -> bool:
    return subprocess.run(["mount", *options], capture_output=True, check=False).returncode == 0  # noqa: S607 - as above
