"""The benchmark's process that loads without a daemon, as `benchmarks.load_copies --in-process` talks to it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.peers import worker_load
from tests.models import Checkpoints

pytestmark = pytest.mark.system


def test_every_line_is_a_load(checkpoints: Checkpoints, tmp_path: Path) -> None:
    """It says when it is warm, and answers each checkpoint's path with what its load took."""
    command = [sys.executable, worker_load.__file__, str(tmp_path)]
    lines = f"{checkpoints.encoder}\n{checkpoints.encoder}\n"
    ended = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=120, check=True)
    warm, *answers = ended.stdout.splitlines()
    assert warm == "warm"
    assert len(answers) == 2
    for answer in map(json.loads, answers):
        assert answer["cpu_s"] > 0
        assert 0 < answer["total_s"] < 120
        assert answer["faults"] >= 0
