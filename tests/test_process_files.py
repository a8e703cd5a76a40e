"""Files of processes: of this one, of a child with an odd name, of one that has ended and is not reaped, and of none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from echoplaned import process_files

ABSENT = 2**22 + 1
"""No process: the kernel's numbers end before (proc(5), pid_max)."""


def test_own_process() -> None:
    """This process is among those that are seen, is this user's, and says what it is."""
    own = os.getpid()
    assert own in process_files.process_ids()
    assert process_files.owner(own) == os.geteuid()
    assert threading.get_native_id() in process_files.thread_ids(own)
    assert process_files.read_bytes(own, "cmdline").startswith(os.fsencode(sys.orig_argv[0]))
    assert f"Pid:\t{own}\n" in process_files.read_text(own, "status")


def test_brackets_and_blanks_in_a_name(tmp_path: Path) -> None:
    """The fields of `stat` begin behind the name, whatever that is."""
    odd = tmp_path / "a ) R 1"
    odd.symlink_to("/bin/sleep")
    with subprocess.Popen([odd, "60"]) as child:
        fields = process_files.read_stat(child.pid)
        child.kill()
    assert fields[0] in {"S", "R", "D"}
    assert int(fields[1]) == os.getpid()


def test_a_zombie_has_no_fields() -> None:
    """A process that has ended and is not reaped is no live one."""
    child = os.fork()
    if not child:
        signal.pause()
    assert process_files.read_stat(child)
    os.kill(child, signal.SIGKILL)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert process_files.read_stat(child) == []
    os.waitpid(child, 0)


def test_none() -> None:
    """Of a process that is not there nothing is read or written, and nobody owns it."""
    assert ABSENT not in process_files.process_ids()
    assert process_files.owner(ABSENT) is None
    for read in (process_files.read_stat, process_files.thread_ids):
        with pytest.raises(FileNotFoundError):
            read(ABSENT)
    with pytest.raises(FileNotFoundError):
        process_files.write_text(ABSENT, "autogroup", "0")


def test_writing() -> None:
    """What is written is there afterwards."""
    own = os.getpid()
    before = process_files.read_text(own, "comm").strip()
    process_files.write_text(own, "comm", "a name")
    try:
        assert process_files.read_text(own, "comm") == "a name\n"
    finally:
        process_files.write_text(own, "comm", before)
