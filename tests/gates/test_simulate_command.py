"""The command that says what the gates reach."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.gates import simulate


def row(runs: int, failed: int = 0, expired: int = 0) -> simulate.Row:
    """Return a line of the table for equal versions."""
    return simulate.Row("equal", runs, runs - failed - expired, failed, expired, 1, 1, 1.0, 1.0)


def test_the_interval_says_what_the_runs_support() -> None:
    """No false alarm in 300 runs bounds the chance at 1.2 % (two-sided 95 %), and only 299 of them meet a bar of 1 %."""
    low, high = row(300).back_interval
    assert (low, high) == (0.0, pytest.approx(1.0 - 0.025 ** (1 / 300)))
    low, high = row(120, failed=1, expired=6).back_interval
    assert (low, high) == (pytest.approx(0.0238, abs=2e-4), pytest.approx(0.1165, abs=2e-4))
    assert row(120, failed=1, expired=6).alarm_interval[1] < high
    bar = next(case for case in simulate.cases() if case.group == "equal").meets
    assert bar is not None
    assert (bar(row(298)), bar(row(299)), bar(row(100, failed=9))) == (None, True, False)


def test_the_command_prints_and_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A short run prints the rate with its interval, writes it to a file, and ends with 0 where nothing was missed."""
    out = tmp_path / "rows.json"
    wanted = ["simulate", "--runs", "2", "--group", "equal", "--only", "100 requests/s, 0.5%", "--json", str(out)]
    monkeypatch.setattr("sys.argv", wanted)
    assert simulate.main() == 0
    assert "rolled back 0.00% [0.00%, 84.19%], of these by an alarm 0.00% [0.00%, 84.19%]" in capsys.readouterr().out
    (told,) = json.loads(out.read_text())["rows"]
    assert (told["runs"], told["promoted"], told["met"]) == (2, 2, None)
    monkeypatch.setattr(
        "sys.argv", ["simulate", "--runs", "10", "--group", "found", "--only", "100% errors at 5 %, 100"]
    )
    assert simulate.main() == 0
    assert "p95 <= 5 requests: met" in capsys.readouterr().out
