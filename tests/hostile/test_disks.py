"""Disks that vanish, fill up or may only be read: seen within a tick, nothing acknowledged is lost, engines go on serving."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from google.protobuf import field_mask_pb2

from echoplane.v1 import models_pb2
from tests.e2e import e2e_system as e
from tests.hostile.read_only import MountDeniedError, mounted_read_only

DATABASE = "echoplane.db"
Disk = Callable[[e.System], AbstractContextManager[None]]
"""Starts a daemon on a disk that cannot be written; at the end it can."""

SEEN_S = 5.0
"""Longest time until a difference is seen: a tick is 0.25 s, and a busy machine is late."""

SMALL = """
import os, resource, sys
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
os.execv(sys.argv[1], sys.argv[1:])
"""
FULL = (sys.executable, "-c", SMALL)
"""Starts a command whose files may not grow, as on a full disk."""


def label(system: e.System, value: str) -> None:
    """Have something written: a label of the model."""
    mask = field_mask_pb2.FieldMask(paths=["labels"])
    system.client.configure_model(
        models_pb2.ConfigureModelRequest(name="models/m", labels={"written": value}, update_mask=mask)
    )


def labelled(system: e.System) -> str:
    """Return what was written last."""
    return str(system.client.get_model("m").labels["written"])


def refused(system: e.System, *named: str) -> None:
    """Wait until the status says that nothing is written, and why; then no call is taken, and reads go on."""
    e.eventually(lambda: not system.client.get_status().store_writable, SEEN_S, "the difference to be seen")
    alarms = system.client.get_status().alarms
    assert any(all(part in alarm for part in named) for alarm in alarms), alarms
    with e.refused("STORE_UNAVAILABLE", grpc.StatusCode.UNAVAILABLE) as caught:
        label(system, "refused")
    assert str(system.daemon.state_dir) not in caught.value.failure.message
    assert labelled(system) != "refused"


def writable(system: e.System) -> None:
    """Wait until calls are taken again."""
    e.eventually(lambda: system.client.get_status().store_writable, SEEN_S, "the store to be written again")


@contextmanager
def away(path: Path) -> Iterator[None]:
    """Move a file or directory elsewhere for a while."""
    elsewhere = path.with_name(f"{path.name}-away")
    path.rename(elsewhere)
    yield
    elsewhere.rename(path)


def pids(system: e.System) -> set[int]:
    """Return the processes of all instances."""
    return {instance.pid for version in system.client.list_versions("m") for instance in version.instances}


@pytest.fixture(scope="module")
def system(start_system: Any) -> Iterator[e.System]:
    """One daemon for these tests, with a model that is loaded once: they end the daemon, and its worker goes on."""
    with ExitStack() as stack:
        made = start_system(stack, ("--standby-workers", "0"))
        made.load("m")
        yield made


def test_files_that_go_under_a_running_daemon(system: e.System) -> None:
    """Directory, database, log and lock: each stops writes by its name; put back, writes go on; lost, nothing acknowledged is."""
    state_dir = system.daemon.state_dir
    for path, named in (
        (state_dir, "the state directory"),
        (state_dir / DATABASE, DATABASE),
        (state_dir / "daemon.lock", "daemon.lock"),
    ):
        label(system, path.name)
        with away(path):
            refused(system, f"{named} was removed or replaced")
        writable(system)
        assert labelled(system) == path.name
    label(system, "before-the-log-went")
    (state_dir / f"{DATABASE}-wal").unlink()
    refused(system, f"{DATABASE}-wal was removed or replaced")
    before = pids(system)
    system.daemon.kill()
    system.daemon.start()
    assert labelled(system) == "before-the-log-went"
    assert pids(system) == before
    label(system, "after")


def test_damage_is_called_damage(own_system: e.MakeSystem) -> None:
    """A database with a page overwritten: exit 1, "cannot be read" and no word of trying again."""
    system = own_system("--standby-workers", "0")
    assert system.daemon.stop() == 0
    database = system.daemon.state_dir / DATABASE
    content = bytearray(database.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    database.write_bytes(content)
    with pytest.raises(RuntimeError, match="the daemon ended with 1: ") as ended:
        system.daemon.start()
    said = str(ended.value).splitlines()[-1]
    assert "the store cannot be read: " in said
    assert "try again" not in said


def requests_are_answered(system: e.System, start_load: e.MakeLoad) -> None:
    """A client that comes now is given the routes that were found, to the engine that was found."""
    load = start_load(system, "m", processes=1, rate=20.0, long_share=0.0)
    e.pause(2.0)
    load.stop()
    samples = load.samples()
    assert samples
    assert e.failures(samples) == []


@contextmanager
def full(system: e.System) -> Iterator[None]:
    """Start the daemon with files that may not grow by a byte; then give them room."""
    system.daemon.wrapper = FULL
    system.daemon.start()
    yield
    assert system.daemon.process is not None
    process = psutil.Process(system.daemon.process.pid)
    _, hard = process.rlimit(psutil.RLIMIT_FSIZE)
    process.rlimit(psutil.RLIMIT_FSIZE, (hard, hard))
    system.daemon.wrapper = ()


@contextmanager
def read_only(system: e.System) -> Iterator[None]:
    """Start the daemon on a state directory that is mounted read-only; then mount it as it was."""
    try:
        with mounted_read_only(system.daemon.state_dir) as make_writable:
            try:
                system.daemon.start()
                yield
                make_writable()
                writable(system)
            finally:
                system.daemon.kill()
    except MountDeniedError:
        system.daemon.start()  # the tests that follow have the same daemon
        pytest.skip("mounting is not permitted here; RLIMIT_FSIZE is tried in any case")
    system.daemon.start()


@pytest.mark.parametrize("disk", [full, read_only])
@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_start_without_room(system: e.System, start_load: e.MakeLoad, disk: Disk, end: str) -> None:
    """A daemon that was killed, or stopped, starts where nothing can be written: it serves, refuses changes, and writes again."""
    label(system, "before")
    before = pids(system)
    (system.daemon.kill if end == "kill" else system.daemon.stop)()
    with disk(system):
        refused(system, "the store cannot be written")
        assert pids(system) == before
        assert labelled(system) == "before"
        if disk is full and end == "kill":
            requests_are_answered(system, start_load)
    writable(system)
    label(system, "after")
    assert labelled(system) == "after"
    assert pids(system) == before


def test_a_database_that_was_lost_ends_nobody(system: e.System) -> None:
    """An empty database beside workers that serve: exit 1 with their names, they go on; ``--sweep-unowned`` ends them."""
    (pid,) = pids(system)
    system.daemon.kill()
    for file in system.daemon.state_dir.glob(f"{DATABASE}*"):
        file.unlink()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="the daemon ended with 1: ") as ended:
            system.daemon.start()
        said = str(ended.value)
        assert f"(process {pid}, m/v1#0)" in said
        assert "--sweep-unowned" in said
        assert psutil.pid_exists(pid)
    system.daemon.extra = (*system.daemon.extra, "--sweep-unowned")
    system.daemon.start()
    e.eventually(lambda: not psutil.pid_exists(pid), 20.0, "the unowned worker's end")
    assert list(system.client.list_models()) == []
