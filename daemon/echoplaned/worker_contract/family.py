"""Finds and ends all processes of one engine.

They are whoever is in its leader's session, and whoever carries its mark, in whatever session.

A leader that is killed leaves its children alive (vLLM's do), and a child may have made a session of its own: neither the process group
nor the tree of parents holds them together, only the session and the environment that they inherited. Both are looked up in ``/proc``,
and a process is signalled only through a pidfd under which its start time was looked at again, since a pid may have been used again.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from echoplaned import process_files
from echoplaned.worker_contract.mark import VARIABLE, is_marked_by
from echoplaned.worker_contract.segments import Segment, find_segments, remove_segments

_PAUSE_S: Final = 0.02
_TRACKER: Final = b"multiprocessing.resource_tracker"
_TRACKER_S: Final = 6.0
"""How long Python's resource tracker may take to unlink what the others shared; nobody else would, and it fills ``/dev/shm``."""

_LOOKS: Final = 2
"""Looks in a row that must find nothing: a process that forks while it is looked for is found by the second."""

_SESSION: Final = 3  # proc(5): fields of /proc/PID/stat behind the command's name
_START_TIME: Final = 19
_PREFIX: Final = f"{VARIABLE}=".encode()


@dataclass(frozen=True, slots=True)
class Member:
    """One live process.

    Attributes:
        pid: process id.
        start_ticks: start time, clock ticks since boot.
        session: id of the session that it is in.
    """

    pid: int
    start_ticks: int
    session: int


@dataclass(frozen=True, slots=True)
class Family:
    """The processes of one engine.

    Attributes:
        leader_pid: process id of the leader, whose session it is; it may have gone. 0: not known, the mark alone holds them together.
        start_ticks: leader's start time, clock ticks since boot; 0: not known.
        mark: value of ``ECHOPLANE_INSTANCE`` in their environment; empty: they have none (contract 1).
    """

    leader_pid: int
    start_ticks: int
    mark: str = ""


def find_members(family: Family) -> tuple[Member, ...]:
    """Return the live processes of a family; zombies are none."""
    everybody = tuple(_own_processes())
    # The kernel gives a pid away again only when no process is left in its session: a pid with another start time is another session.
    reused = any(one.pid == family.leader_pid and one.start_ticks != family.start_ticks for one in everybody)
    # Sessions 0 and 1 are the kernel's and init's: nobody of ours leads them.
    has_session = family.leader_pid > 1 and not reused
    return tuple(
        one
        for one in everybody
        if one.start_ticks >= family.start_ticks
        and ((has_session and one.session == family.leader_pid) or (family.mark and read_mark(one.pid) == family.mark))
    )


def find_marked(state_dir_id: str) -> tuple[tuple[Member, str], ...]:
    """Return every live process with a mark of a state directory, and its mark."""
    found = ((one, read_mark(one.pid)) for one in _own_processes())
    return tuple((one, mark) for one, mark in found if is_marked_by(mark, state_dir_id))


def end_family(family: Family, timeout_s: float) -> bool:
    """Kill every process of a family; return whether all ended in time. Blocking.

    It kills again and again until two looks in a row find none.

    Python's resource tracker ends by itself once the others have gone, and cleans up after them: it is killed only if it does not, and
    then what they shared is removed here.
    """
    deadline_s = time.monotonic() + timeout_s
    tracker_s = deadline_s - timeout_s + min(_TRACKER_S, 0.8 * timeout_s)
    empty_looks = 0
    shared: dict[Member, frozenset[Segment]] = {}
    while empty_looks < _LOOKS:
        found = find_members(family)
        # Before they are killed: a dead process maps nothing.
        shared |= {one: find_segments(one.pid) for one in found if one not in shared}
        empty_looks = 0 if found else empty_looks + 1
        spares = time.monotonic() < tracker_s
        for one in found:
            if not (spares and _is_tracker(one.pid)):
                kill_member(one)
        if found and time.monotonic() > deadline_s:
            return False
        time.sleep(_PAUSE_S)
    others = (os.getpid(), *(one.pid for one in _own_processes()))
    remove_segments(frozenset().union(*shared.values()), others)
    return True


def _is_tracker(pid: int) -> bool:
    try:
        return _TRACKER in process_files.read_bytes(pid, "cmdline")
    except OSError:
        return False


def kill_member(member: Member) -> None:
    """Kill one process, if it is still the one that was found."""
    try:
        pidfd = os.pidfd_open(member.pid)
    except ProcessLookupError:
        return
    try:
        # Looked at after the pidfd is held, so that what is compared is what is killed.
        if _read_member(member.pid) == member:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        os.close(pidfd)


def read_mark(pid: int) -> str:
    """Return the mark in a process's environment.

    Empty where it has none, has gone, or is not ours to look at.
    """
    try:
        environment = process_files.read_bytes(pid, "environ")
    except OSError:
        return ""
    marks = [one for one in environment.split(b"\0") if one.startswith(_PREFIX)]
    return marks[0][len(_PREFIX) :].decode("utf-8", errors="replace") if marks else ""


def _own_processes() -> Iterator[Member]:
    """Yield the live processes of this user, but for this one."""
    own_pid, own_uid = os.getpid(), os.geteuid()
    for pid in process_files.process_ids():
        member = _read_member(pid) if pid != own_pid and process_files.owner(pid) == own_uid else None
        if member is not None:
            yield member


def _read_member(pid: int) -> Member | None:
    """Return a live process; None if it has gone or is a zombie."""
    try:
        fields = process_files.read_stat(pid)
    except OSError:
        return None
    return Member(pid, int(fields[_START_TIME]), int(fields[_SESSION])) if fields else None
