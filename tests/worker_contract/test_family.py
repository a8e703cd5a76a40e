"""All processes of one engine are found and ended, whatever session they are in and whoever died first."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from echoplaned.worker_contract.family import (
    Family,
    Member,
    end_family,
    find_marked,
    find_members,
    kill_member,
    read_mark,
)
from echoplaned.worker_contract.record import read_start_ticks

MARK = "fedcba9876543210/m/v1#0/3"

# A leader with a child in its session, and one in a session of its own that has no parent any more.
_LEADER = """
import os, subprocess, sys, time
subprocess.Popen(["sleep", "600"])
subprocess.Popen(["sleep", "601"], start_new_session=True)
print("up", flush=True)
time.sleep(float(sys.argv[1]))
"""


@pytest.fixture
def leader() -> Iterator[subprocess.Popen[str]]:
    """A leader with a family of three; whatever is left of it is ended."""
    process = start_leader(600)
    # In the middle of its exec a process has no environment yet, though whoever started it was told that it runs.
    until(lambda: len(find_members(family_of(process.pid))) == 3)
    yield process
    assert end_family(family_of(process.pid), 10)
    process.wait()


def start_leader(life_s: float) -> subprocess.Popen[str]:
    """Start one that ends by itself after a time, and wait until its children run."""
    command = [sys.executable, "-c", _LEADER, str(life_s)]
    environment = {**os.environ, "ECHOPLANE_INSTANCE": MARK}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    with process.stdout as output:
        assert output.readline() == "up\n"
    return process


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that other processes do."""
    deadline_s = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def family_of(pid: int, mark: str = MARK) -> Family:
    """Return the family of a leader that lives."""
    return Family(pid, read_start_ticks(pid) or 0, mark)


def test_a_family_is_a_session_and_a_mark(leader: subprocess.Popen[str]) -> None:
    """With the mark the child of another session belongs to it; without, the session alone."""
    assert len(find_members(family_of(leader.pid))) == 3
    assert len(find_members(family_of(leader.pid, mark=""))) == 2
    assert {mark for _, mark in find_marked("fedcba9876543210")} == {MARK}
    assert find_marked("fedcba987654321") == ()
    assert read_mark(leader.pid) == MARK


def test_a_family_whose_leader_died_first_is_ended(leader: subprocess.Popen[str]) -> None:
    """A leader that is gone and reaped still names its session and its mark."""
    family = family_of(leader.pid)
    leader.kill()
    leader.wait()
    assert len(find_members(family)) == 2
    assert end_family(family, 10)
    assert find_members(family) == ()


def test_another_process_under_the_leaders_pid_is_left_alone(leader: subprocess.Popen[str]) -> None:
    """A pid that was used again leads another session, and a process older than the leader is none of its family."""
    family = family_of(leader.pid, mark="")
    assert find_members(Family(family.leader_pid, family.start_ticks - 1)) == ()
    assert find_members(Family(family.leader_pid, family.start_ticks + 1)) == ()
    kill_member(Member(leader.pid, family.start_ticks + 1, leader.pid))
    time.sleep(0.1)
    assert leader.poll() is None


def test_a_mark_alone_holds_a_family_together(leader: subprocess.Popen[str]) -> None:
    """Of a leader that nobody knows the mark is enough; without either nobody is meant, least of all session 0 or 1."""
    assert len(find_members(Family(0, 0, MARK))) == 3
    assert leader.poll() is None
    assert find_members(Family(0, 0)) == ()
    assert find_members(Family(1, 0)) == ()


def test_a_family_of_nobody_is_ended_at_once() -> None:
    """Nothing is found twice, and that is all."""
    assert end_family(Family(2**22 + 1, 0, "fedcba9876543210/none/1"), 1)


def test_a_mark_is_looked_for_in_the_environment_only(tmp_path: Path) -> None:
    """An argument that looks like a mark is none."""
    process = subprocess.Popen(["/bin/sleep", "60"], env={"X": f"ECHOPLANE_INSTANCE={MARK}"}, cwd=tmp_path)
    try:
        assert read_mark(process.pid) == ""
    finally:
        process.kill()
        process.wait()
