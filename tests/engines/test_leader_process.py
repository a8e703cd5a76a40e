"""The end of a leader: told once nothing of its engine is left, whatever the disk and the descriptors are."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from echoplaned.engines import leader_process, standby
from echoplaned.engines.launcher import LaunchOptions
from echoplaned.engines.leader_process import LeaderProcess
from echoplaned.engines.processes import WatchedProcess
from echoplaned.engines.standby import StandbyPool
from echoplaned.worker_contract.family import Family, end_family
from echoplaned.worker_contract.mark import VARIABLE

ENDED_S = 10.0


@pytest.fixture
def pid() -> Iterator[int]:
    """Return a process that stands for a leader, in a session of its own and with its mark."""
    environment = {**os.environ, VARIABLE: "0123456789abcdef/w1/1"}
    started = os.posix_spawnp("sleep", ["sleep", "60"], environment, setsid=True)
    yield started
    with_end(started)


def with_end(pid: int) -> None:
    """See to it that a process of the test has ended."""
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        return


def leader_of(state_dir: Path, pid: int) -> LeaderProcess:
    """Return a leader with a record of its own."""
    (state_dir / "instances").mkdir(parents=True)
    (state_dir / "instances" / "w1.json").write_text("{}")
    return LeaderProcess(state_dir, "w1", WatchedProcess(pid, spares_group=True), mark="0123456789abcdef/w1/1")


async def test_its_end_is_told_though_its_record_stays(tmp_path: Path, pid: int) -> None:
    """A record that cannot be deleted (here a directory lies in the place of its lock) holds back nothing."""
    leader = leader_of(tmp_path, pid)
    (tmp_path / "instances" / "w1.lock").mkdir()
    told: list[str] = []
    leader.on_gone(lambda info: told.append(str(info)))
    leader.kill()
    assert await leader.ends_within(ENDED_S)
    assert told == ["its process was killed by SIGKILL"]


async def test_processes_that_cannot_be_looked_at_are_looked_at_again(
    tmp_path: Path, pid: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a free descriptor nobody knows whether the engine has ended: it is not told before somebody does."""
    leader = leader_of(tmp_path, pid)
    looks: list[Family] = []

    def without_descriptors(family: Family, timeout_s: float) -> bool:
        looks.append(family)
        if len(looks) < 3:
            raise OSError(24, "Too many open files")
        return end_family(family, timeout_s)

    monkeypatch.setattr(leader_process, "end_family", without_descriptors)
    monkeypatch.setattr(leader_process, "_LOOK_AGAIN_S", 0.01)
    leader.kill()
    assert await leader.ends_within(ENDED_S)
    assert len(looks) == 3


async def test_a_pool_closes_though_one_does_not_end(tmp_path: Path, pid: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon ends on SIGTERM whatever its leaders do."""

    def ends_never(_family: Family, _timeout_s: float) -> bool:
        time.sleep(0.05)
        return False

    monkeypatch.setattr(leader_process, "end_family", ends_never)
    monkeypatch.setattr(standby, "_END_TIMEOUT_S", 0.3)
    pool = StandbyPool(LaunchOptions(tmp_path), 1, lambda: "w2")
    pool.adopt(leader_of(tmp_path, pid))
    await asyncio.wait_for(pool.close(), ENDED_S)
    assert not pool.worker_ids
