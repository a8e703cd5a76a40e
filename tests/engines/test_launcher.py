"""How workers are launched, and what is kept of their output."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from echoplaned.engines.launcher import (
    LaunchOptions,
    last_log_lines,
    launch,
    leader_arguments,
    leader_environment,
    log_path,
    standby_mark,
)
from echoplaned.worker_contract.record import records_dir


def test_the_arguments_name_worker_and_directory(state_dir: Path) -> None:
    """A worker can be told from any other process by its command line."""
    arguments = leader_arguments("w1", LaunchOptions(state_dir, python="/usr/bin/python"), urgent=True)
    assert arguments[:4] == ["/usr/bin/python", "-P", "-m", "echoplaned.worker"]
    assert arguments[4:] == ["--worker-id", "w1", "--state-dir", str(state_dir), "--urgent"]


def test_the_environment_keeps_bytecode_where_it_may(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forbidden cache beside the sources is replaced by one of ours; a set prefix and a permitted cache stay."""
    cached = LaunchOptions(state_dir, bytecode_cache=state_dir / "cache")
    monkeypatch.delenv("PYTHONPYCACHEPREFIX", raising=False)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    environment = leader_environment(cached)
    assert "PYTHONDONTWRITEBYTECODE" not in environment
    assert environment["PYTHONPYCACHEPREFIX"] == str(state_dir / "cache")
    assert leader_environment(LaunchOptions(state_dir))["PYTHONDONTWRITEBYTECODE"] == "1"
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", "/elsewhere")
    assert leader_environment(cached)["PYTHONPYCACHEPREFIX"] == "/elsewhere"
    monkeypatch.delenv("PYTHONPYCACHEPREFIX")
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE")
    assert "PYTHONPYCACHEPREFIX" not in leader_environment(cached)


def test_the_allocator_is_tuned(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One heap and one thread; freed memory goes back at once only where memory is measured; an operator's own tunables come last."""
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
    fast, exact = (leader_environment(LaunchOptions(state_dir, exact_memory=flag)) for flag in (False, True))
    assert fast["OMP_NUM_THREADS"] == fast["MALLOC_ARENA_MAX"] == "1"
    assert int(exact["MALLOC_TRIM_THRESHOLD_"]) < int(fast["MALLOC_TRIM_THRESHOLD_"])
    own = "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0"
    assert fast["GLIBC_TUNABLES"] == exact["GLIBC_TUNABLES"] == f"{own}:glibc.malloc.hugetlb=1"


def test_every_process_of_an_engine_is_marked(state_dir: Path) -> None:
    """The mark is the state directory's id and whose engine it is; the id is drawn once and stays."""
    mark = standby_mark("w1", state_dir)
    state_dir_id, _, rest = mark.partition("/")
    assert rest == "w1/0"
    assert len(state_dir_id) == 16
    assert standby_mark("w2", state_dir) == f"{state_dir_id}/w2/0"
    assert leader_environment(LaunchOptions(state_dir), mark)["ECHOPLANE_INSTANCE"] == mark


def test_output_goes_to_a_file_in_a_session_of_its_own(state_dir: Path) -> None:
    """Even a process that fails at once leaves its last words, and is no part of this session."""
    pid = launch("w1", LaunchOptions(state_dir, python="/bin/echo"), urgent=False)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert last_log_lines(state_dir, "w1").startswith("-P -m echoplaned.worker --worker-id w1")
    assert log_path(state_dir, "w1").stat().st_mode & 0o777 == 0o600
    assert last_log_lines(state_dir, "w2") == ""


def test_a_missing_interpreter_is_an_error(state_dir: Path) -> None:
    """What cannot be started raises, it does not hang."""
    with pytest.raises(OSError, match="No such file"):
        launch("w1", LaunchOptions(state_dir, python="/nowhere/python"), urgent=False)


def test_old_logs_are_pruned_but_not_those_of_the_living(state_dir: Path) -> None:
    """Fifty logs of workers that have gone are kept, the newest ones."""
    logs = state_dir / "logs"
    logs.mkdir()
    records_dir(state_dir).mkdir()
    for index in range(60):
        path = logs / f"old-{index}.log"
        path.write_text("x")
        os.utime(path, (index, index))
    (records_dir(state_dir) / "old-0.json").write_text("{}")
    os.waitpid(launch("w1", LaunchOptions(state_dir, python="/bin/true"), urgent=False), 0)
    kept = {path.stem for path in logs.iterdir()}
    assert kept == {"w1", "old-0", *(f"old-{index}" for index in range(10, 60))}


@pytest.mark.parametrize("lines", [1, 3])
def test_the_tail_of_a_long_log(state_dir: Path, lines: int) -> None:
    """Only the last lines are read, however long the file."""
    path = log_path(state_dir, "w1")
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(f"line {index}" for index in range(100_000)) + "\n\n")
    assert last_log_lines(state_dir, "w1", lines).splitlines() == [
        f"line {index}" for index in range(100_000 - lines, 100_000)
    ]
