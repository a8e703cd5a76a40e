"""Workers beside an empty database: whoever serves is named; who only stands by is nobody's."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from echoplaned.engine_kinds import DEFAULT_KIND
from echoplaned.engines.inventory import scan
from echoplaned.engines.unowned import UnownedEnginesError, refuse_unowned
from echoplaned.worker_contract.record import WorkerPhase, WorkerRecord, read_boot_id, read_start_ticks, records_dir


@pytest.fixture
def process(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that stands for a worker's."""
    words = [sys.executable, "-c", "input()", "--worker-id", "w1", "--state-dir", str(tmp_path)]
    made = subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True)
    yield made
    made.communicate(b"\n")


def write(state_dir: Path, record: WorkerRecord) -> None:
    """Write a worker's record."""
    records_dir(state_dir).mkdir(exist_ok=True)
    (records_dir(state_dir) / f"{record.worker_id}.json").write_text(record.to_json())


def record_of(pid: int) -> WorkerRecord:
    """Return the record of a worker that serves."""
    ticks = read_start_ticks(pid)
    assert ticks is not None
    return WorkerRecord("w1", pid, ticks, read_boot_id(), WorkerPhase.READY, "127.0.0.1:1", "m/v1#0", 1, "torch", 2)


def test_a_worker_that_serves_is_named(tmp_path: Path, process: subprocess.Popen[bytes]) -> None:
    """The message has worker, process and instance, and says what to do."""
    write(tmp_path, record_of(process.pid))
    with pytest.raises(UnownedEnginesError) as caught:
        refuse_unowned(tmp_path)
    assert f"w1 (process {process.pid}, m/v1#0)" in str(caught.value)
    assert "--sweep-unowned" in str(caught.value)
    assert process.poll() is None


@pytest.mark.parametrize("text", ["", "[]", '{"worker_id": "w1", "phase": "OF_A_LATER_RELEASE"}'])
def test_a_record_that_nobody_can_read_is_of_no_standby(text: str, tmp_path: Path) -> None:
    """What it serves is not known, so that no load may wait for it: it is named, or ended where the database is not empty."""
    words = [
        sys.executable,
        "-c",
        "input()",
        DEFAULT_KIND.command[-1],
        "--worker-id",
        "w1",
        "--state-dir",
        str(tmp_path),
    ]
    records_dir(tmp_path).mkdir()
    with subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True) as process:
        deadline_s = time.monotonic() + 10
        while not scan(tmp_path) and time.monotonic() < deadline_s:
            os.sched_yield()
        assert [one.is_standby for one in scan(tmp_path)] == [True], "it has not written its record yet"
        (records_dir(tmp_path) / "w1.json").write_text(text)
        assert [one.is_standby for one in scan(tmp_path)] == [False]
        with pytest.raises(UnownedEnginesError, match=f"w1 .process {process.pid}, no instance"):
            refuse_unowned(tmp_path)
        process.communicate(b"\n")


def test_others_are_no_reason(tmp_path: Path, process: subprocess.Popen[bytes]) -> None:
    """Nothing at all, one on standby, and the record of a process that has gone: the daemon starts."""
    refuse_unowned(tmp_path)
    serving = record_of(process.pid)
    write(tmp_path, replace(serving, instance="", generation=0, phase=WorkerPhase.STANDBY))
    write(tmp_path, replace(serving, worker_id="w2", start_ticks=serving.start_ticks + 1))
    refuse_unowned(tmp_path)
