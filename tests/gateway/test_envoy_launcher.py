"""The process between the daemon and Envoy, with another program in Envoy's place: it claims the record, or starts nothing."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from echoplaned.gateway import envoy_launcher
from echoplaned.gateway.records import read_live, record_path
from tests.gateway.test_records import RECORD, put

PLANNED = replace(RECORD, pid=0, start_ticks=0)


def launch(state_dir: Path) -> None:
    """Launch what sleeps."""
    path = record_path(state_dir, PLANNED.generation)
    words = [str(path), PLANNED.to_json(), str(state_dir / "output"), "/bin/sleep", "60"]
    subprocess.run([sys.executable, "-I", "-S", envoy_launcher.__file__, *words], check=True, timeout=30)


def eventually(true: Callable[[], bool], timeout_s: float = 20.0) -> bool:
    """Look again and again."""
    ends_at = time.monotonic() + timeout_s
    while not true() and time.monotonic() < ends_at:
        time.sleep(0.01)
    return true()


def test_a_look_at_the_record_keeps_nobody_from_starting(tmp_path: Path) -> None:
    """While somebody has the lock for a look it waits; then it runs, with the record's lock, and no child of whoever launched it."""
    looking = put(tmp_path, PLANNED, lock=False)
    fcntl.flock(looking, fcntl.LOCK_SH)
    launch(tmp_path)
    time.sleep(0.3)
    os.close(looking)
    assert eventually(lambda: bool([each for each in read_live(tmp_path) if each.pid]))
    (record,) = read_live(tmp_path)
    try:
        assert eventually(lambda: Path(f"/proc/{record.pid}/comm").read_text() == "sleep\n")
        assert os.getsid(record.pid) == record.pid
    finally:
        os.kill(record.pid, signal.SIGKILL)


def test_a_record_that_is_kept_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another process keeps the lock it gives up, and leaves the record as it was."""
    monkeypatch.setattr(envoy_launcher, "_CLAIM_S", 0.1)
    kept = put(tmp_path, RECORD, lock=True)
    path = record_path(tmp_path, RECORD.generation)
    assert not envoy_launcher._claim(str(path), PLANNED.to_json())
    assert read_live(tmp_path) == [RECORD]
    os.close(kept)
