"""A lock says that its holder lives, and to look at it never waits."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from echoplaned.worker_contract.locks import is_locked


def test_a_lock_is_seen_while_it_is_held(tmp_path: Path) -> None:
    """The lock of a file that nobody has, of one that somebody has, and afterwards."""
    path = tmp_path / "own.lock"
    path.touch()
    assert not is_locked(path)
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert is_locked(path)
    assert not is_locked(path)


def test_another_who_looks_is_not_the_holder(tmp_path: Path) -> None:
    """A shared lock is somebody's look."""
    path = tmp_path / "own.lock"
    path.touch()
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert not is_locked(path)


def test_no_file_a_link_and_a_pipe_are_not_locked(tmp_path: Path) -> None:
    """What is not the holder's own file says nothing, and is not waited for."""
    held = tmp_path / "held"
    held.touch()
    (tmp_path / "link").symlink_to(held)
    os.mkfifo(tmp_path / "pipe")
    with held.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert is_locked(held)
        assert not any(is_locked(tmp_path / name) for name in ("none", "link", "pipe"))
