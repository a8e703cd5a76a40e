"""What is found in a directory of records: leaders, and whatever else somebody has put there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE

import pytest

from echoplaned.engine_kinds import DEFAULT_KIND
from echoplaned.engines.inventory import take_inventory
from echoplaned.worker_contract.record import read_boot_id, read_start_ticks, records_dir


def test_odd_files_hold_nobody_up(tmp_path: Path) -> None:
    """A daemon starts beside them; each of these kept it from starting, with a traceback or without a word."""
    directory = records_dir(tmp_path)
    directory.mkdir(parents=True)
    (directory / "folder.json").mkdir()
    (directory / "loop.json").symlink_to(directory / "loop.json")
    os.mkfifo(directory / "pipe.json")
    (directory / "deep.json").write_text("[" * 60_000)
    (directory / "bytes.json").write_bytes(b"\xff\xfe")
    found = take_inventory(tmp_path)
    assert (found.leaders, found.dead, found.foreign) == ((), (), ())


@pytest.mark.parametrize("pid", [1, os.getpid()], ids=["dead", "alive"])
def test_a_record_of_an_impossible_id_keeps_no_daemon_from_starting(pid: int, tmp_path: Path) -> None:
    """An engine may write what it likes beside the records: no leader has such an id, and no file is removed by it."""
    records_dir(tmp_path).mkdir(parents=True)
    data = {"worker_id": "X Y", "pid": pid, "start_ticks": read_start_ticks(os.getpid()), "boot_id": read_boot_id()}
    (records_dir(tmp_path) / "X Y.json").write_text(json.dumps({**data, "kind": "torch"}))
    found = take_inventory(tmp_path)
    assert (found.leaders, found.dead, found.foreign) == ((), (), ())


@contextmanager
def pretender(state_dir: Path, worker_id: str, uid: int) -> Iterator[None]:
    """Run a process of a user with the words of a leader's command line."""
    words = ["sh", "-c", "echo ready; read _", "-m", DEFAULT_KIND.command[-1], "--worker-id", worker_id]
    words += ["--state-dir", str(state_dir)]
    with subprocess.Popen(words, stdin=PIPE, stdout=PIPE, user=uid) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield
        process.communicate(b"\n")


def test_words_in_a_command_line_make_no_leader(tmp_path: Path) -> None:
    """A leader runs as the daemon does, and has an id: anybody on the machine can start a process that is called like one."""
    with pretender(tmp_path, "w1", os.geteuid()):
        assert [one.worker_id for one in take_inventory(tmp_path).leaders] == ["w1"]
    with pretender(tmp_path, "../w 1", os.geteuid()):
        assert take_inventory(tmp_path).leaders == ()
    if os.geteuid() == 0:
        with pretender(tmp_path, "w1", 65534):
            assert take_inventory(tmp_path).leaders == ()


def test_a_copy_has_no_leaders(tmp_path: Path) -> None:
    """A live leader is of the directory in which it holds its lock; in a copy its record is left alone, and says whose it is."""
    mine, copy = tmp_path / "mine", tmp_path / "copy"
    program = f"""
import pathlib
from echoplaned.worker_contract.record import RecordFile, WorkerPhase
file = RecordFile(pathlib.Path({str(mine)!r}), "w1", "torch")
file.update(WorkerPhase.READY, address="127.0.0.1:1", instance="m/v1#0", generation=1)
print("ready", flush=True)
input()
"""
    words = [sys.executable, "-c", program]
    with subprocess.Popen(words, stdin=PIPE, stdout=PIPE, start_new_session=True) as leader:
        assert leader.stdout is not None
        assert leader.stdout.readline() == b"ready\n"
        shutil.copytree(mine, copy)
        assert [one.worker_id for one in take_inventory(mine).leaders] == ["w1"]
        found = take_inventory(copy)
        assert (found.leaders, found.dead) == ((), ())
        assert [str(one).partition(":")[0] for one in found.foreign] == ["w1.json was copied here"]
        moved = mine.rename(tmp_path / "moved")
        assert [one.worker_id for one in take_inventory(moved).leaders] == ["w1"]
        leader.communicate(b"\n")
    assert take_inventory(copy).foreign == (), "it has ended, and nobody's memory is in use"
