"""Two daemons, the second on a copy of the first one's live state directory: each has its own engines, and ends nobody else's."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from echoplane import Client
from echoplane.v1 import models_pb2, types_pb2
from echoplaned.testing import checkpoints
from echoplaned.testing.daemon import DaemonProcess, free_port
from echoplaned.worker_contract.record import read_records
from tests.e2e import e2e_system as e

MODEL: Final = "copied"
SWEEPS_S: Final = 8.0
"""A daemon looks for engines that belong to nothing at its start, and once more 5 s later."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The first daemon, and one on a copy of its state directory that has not started yet."""

    first: DaemonProcess
    copy: DaemonProcess


def _sockets(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if (Path(folder) / name).is_socket()]


def copy_of(daemon: DaemonProcess, folder: Path) -> DaemonProcess:
    """Copy a daemon's state directory as an operator would, and return a daemon on it."""
    folder.mkdir()
    copy = DaemonProcess(folder / "state", daemon.model_roots, daemon.extra)
    shutil.copytree(daemon.state_dir, copy.state_dir, symlinks=True, ignore=_sockets)
    return copy


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A daemon with a model and an engine on standby, copied while it runs."""
    with tempfile.TemporaryDirectory(prefix="ep-") as folder:
        root = Path(folder).resolve()
        checkpoints.make_decoder(root / "plain")
        first = DaemonProcess(root / "a" / "state", (root,), ("--standby-workers", "1"))
        (root / "a").mkdir()
        try:
            first.start(300.0)
            with Client(first.address) as client:
                source = models_pb2.LoadModelRequest(model_id=MODEL, version_id="v1", source_uri="file:plain")
                client.wait(client.load_model(source), e.LOAD_S)
            e.eventually(lambda: len(read_records(first.state_dir)) == 2, e.LOAD_S, "the engine on standby")
            copy = copy_of(first, root / "b")
            try:
                yield Pair(first, copy)
            finally:
                copy.clean()
        finally:
            first.clean()


def is_served(daemon: DaemonProcess) -> bool:
    """Whether a daemon's model answers, asked now."""
    with Client(daemon.address) as client:
        return bool(client.check_health(MODEL).state == types_pb2.HEALTH_STATE_SERVING)


def test_a_copy_ends_and_takes_nobody_elses_engines(pair: Pair) -> None:
    """It starts engines of its own and says whose the copied records are; what ends its engines ends no others."""
    before = {each.pid: each.create_time() for each in pair.first.engines()}
    pair.copy.start(300.0)
    e.eventually(lambda: is_served(pair.copy), e.LOAD_S, "an engine of its own")
    time.sleep(SWEEPS_S)
    assert {each.pid: each.create_time() for each in pair.first.engines()} == before
    assert is_served(pair.first)
    assert pair.copy.engines(), "its model is served by an engine of its own"
    with Client(pair.copy.address) as client:
        alarms = list(client.get_status().alarms)
    assert sum("was copied here" in alarm for alarm in alarms) == len(before), alarms
    pair.copy.stop()
    command = [sys.executable, "-m", "echoplaned", "stop-engines", "--state-dir", str(pair.copy.state_dir)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert "engines ended" in said
    assert not pair.copy.engines()
    assert {each.pid: each.create_time() for each in pair.first.engines()} == before


def test_a_directory_that_was_moved_keeps_its_engines(pair: Pair) -> None:
    """Its daemon is started anew at another path: the engines hold their locks in it, and serve on."""
    pair.first.stop()
    before = {each.pid for each in pair.first.engines()}
    there = pair.first.state_dir.parent.parent / "c"
    there.mkdir()
    moved = DaemonProcess(there / "state", pair.first.model_roots, pair.first.extra, free_port())
    pair.first.state_dir.rename(moved.state_dir)
    try:
        moved.start(300.0)
        assert is_served(moved)
        time.sleep(SWEEPS_S)
        assert {each.pid for each in pair.first.engines()} == before, "their command lines name the first path"
        assert is_served(moved)
    finally:
        moved.clean()
