"""The state directory: private, and one daemon's at a time."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from echoplaned.store import SqlStore, StateDirError, StateDirLock, StateDirLockedError, prepare_state_dir
from echoplaned.store.directory import LOCK_NAME

HOLD = """
import sys
from pathlib import Path
from echoplaned.store.directory import StateDirLock
lock = StateDirLock(Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""


def test_everything_in_it_is_private(state_dir: Path) -> None:
    """Nobody but the owner can enter the directory or read its files, whatever the umask says."""
    before = os.umask(0)
    try:
        store = SqlStore.open(state_dir / "deep")
        with StateDirLock(state_dir / "deep"):
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (state_dir / "deep").iterdir()}
        store.close()
    finally:
        os.umask(before)
    assert stat.S_IMODE((state_dir / "deep").stat().st_mode) == 0o700
    assert LOCK_NAME in modes
    assert {oct(mode & 0o077) for mode in modes.values()} == {"0o0"}


def test_an_open_directory_of_ours_is_closed(tmp_path: Path) -> None:
    """An empty directory, and one with our lock file, is made private."""
    for name, files in (("empty", ()), ("used", (LOCK_NAME, "other"))):
        path = tmp_path / name
        path.mkdir(mode=0o755)
        for file in files:
            (path / file).touch()
        prepare_state_dir(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_an_open_directory_with_other_things_is_refused(tmp_path: Path) -> None:
    """A directory that others use (a home, /tmp) is never closed to them."""
    path = tmp_path / "shared"
    path.mkdir()
    path.chmod(0o755)  # mkdir's mode depends on the user's umask
    (path / "letter").touch()
    with pytest.raises(StateDirError, match="others can enter it"):
        SqlStore.open(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o755


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    """A path that is a file, or lies beneath one, is refused in plain words."""
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "state"):
        with pytest.raises(StateDirError, match=r"cannot be used: (File exists|Not a directory)"):
            prepare_state_dir(path)


def test_two_daemons_cannot_share_it(tmp_path: Path) -> None:
    """The second one is told the process id of the first; when that is killed, the directory is free at once."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(StateDirLockedError, match=f"process {holder.pid} has it locked") as caught:
            StateDirLock(tmp_path)
        assert caught.value.pid == holder.pid
        holder.kill()
        holder.wait()
        StateDirLock(tmp_path).release()


def test_a_lock_file_without_a_number_is_still_a_lock(tmp_path: Path) -> None:
    """Whatever the file says, the lock counts; the message then names nobody."""
    with StateDirLock(tmp_path) as lock:
        (tmp_path / LOCK_NAME).write_text("soon\n")
        with pytest.raises(StateDirLockedError, match="another process has it locked") as caught:
            StateDirLock(tmp_path)
        assert caught.value.pid is None
        assert not os.get_inheritable(lock._descriptor)
    lock.release()
    StateDirLock(tmp_path).release()


def test_a_link_in_the_lock_files_place_is_refused(tmp_path: Path) -> None:
    """The lock file is never written through a link."""
    (tmp_path / "target").write_text("precious")
    (tmp_path / LOCK_NAME).symlink_to(tmp_path / "target")
    with pytest.raises(StateDirError, match="symbolic links"):
        StateDirLock(tmp_path)
    assert (tmp_path / "target").read_text() == "precious"


def test_a_lock_on_a_disk_without_room_is_a_lock(tmp_path: Path) -> None:
    """Who holds it cannot be written; it keeps others out all the same."""
    with StateDirLock(tmp_path):
        pass
    program = (
        "import resource, sys; from pathlib import Path; from echoplaned.store import StateDirLock, StateDirLockedError;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); lock = StateDirLock(Path(sys.argv[1]));"
        "print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(StateDirLockedError, match="another process has it locked"):
            StateDirLock(tmp_path)
        holder.kill()
