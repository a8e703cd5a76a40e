"""What is found in a directory of records: leaders, and whatever else somebody has put there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

from echoplaned.engines.inventory import take_inventory
from echoplaned.worker_contract.record import records_dir


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
