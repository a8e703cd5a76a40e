"""A load beside a worker that is being started at low priority, on a busy machine, for a user who may not raise it again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from echoplane import Client
from echoplaned.testing.daemon import DaemonProcess
from echoplaned.worker_contract.record import WorkerPhase, read_records
from tests.e2e import e2e_system as e

NOBODY = 65534
WORST_RATIO = 1.3


@pytest.fixture
def place(made: e.Checkpoints) -> Iterator[Path]:
    """A directory that another user may read, with a model in it."""
    path = Path(tempfile.mkdtemp(prefix="echoplane-"))
    path.chmod(0o755)
    shutil.copytree(made.path("encoder"), path / "models" / "encoder")
    yield path
    shutil.rmtree(path)


@contextmanager
def daemon_of_another_user(place: Path, name: str, standby_count: int) -> Iterator[e.System]:
    """Run a daemon without any privilege."""
    state_dir = place / name / "state"
    state_dir.mkdir(parents=True, mode=0o700)
    wrapper: tuple[str, ...] = ()
    if os.geteuid() == 0:
        os.chown(state_dir, NOBODY, NOBODY)
        wrapper = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    daemon = DaemonProcess(state_dir, (place / "models",), ("--spare-workers", str(standby_count)), wrapper=wrapper)
    try:
        daemon.start(90.0)
        with Client(daemon.address, e.ONCE) as client:
            yield e.System(daemon, client, e.Checkpoints(place / "models"))
    finally:
        daemon.clean()


def burn(stack: ExitStack) -> None:
    """Keep one core busy for each that there is, in sessions of their own."""
    for _ in range(len(os.sched_getaffinity(0))):
        process = subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)
        stack.callback(process.wait)
        stack.callback(process.kill)


def timed_load(system: e.System, model: str) -> float:
    """Load a version; return the seconds that took."""
    began_s = time.monotonic()
    system.load(model)
    return time.monotonic() - began_s


def is_one_born(system: e.System) -> bool:
    """Whether a worker is on its way to standby."""
    return any(record.phase is WorkerPhase.WARMING for record in read_records(system.daemon.state_dir))


def test_a_load_does_not_wait_for_a_process_of_low_priority(place: Path) -> None:
    """Both cores are busy: a load that finds a worker half-way to standby takes no longer than one that starts its own."""
    with ExitStack() as stack:
        with daemon_of_another_user(place, "own", 0) as system:
            burn(stack)
            urgent_s = timed_load(system, "urgent")
        with daemon_of_another_user(place, "standby", 1) as system:
            system.load("first")
            e.eventually(lambda: is_one_born(system), 60.0, "a worker on its way to standby")
            beside_s = timed_load(system, "second")
            log = system.daemon.tail(20_000)
    print(f"an urgent start took {urgent_s:.1f} s, one beside a worker of low priority {beside_s:.1f} s")  # noqa: T201 - a result
    assert "standby.urgent_beside" in log
    assert beside_s <= WORST_RATIO * urgent_s
