"""What processes of this host hold, from ``/proc`` (proc(5))."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from echoplaned import process_files
from echoplaned.core.memory import MemoryHolder

_MIB: Final = 1024 * 1024
_MAX_HOLDERS: Final = 3
_LEAST_BYTES: Final = 64 * _MIB
"""Whoever holds less is no answer to where the memory is."""
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_PRIVATE: Final = ("RssAnon:", "RssShmem:")
_SHARES: Final = ("Pss_Anon:", "Pss_Shmem:")
_MOVED_BYTES: Final = 16 * _MIB
_MOVED_SHARE: Final = 16
"""Shares are read again once a process holds so many bytes, or one part in so many, more or less than when they were read."""
_LOOKS_HELD: Final = 60
"""They are read again after so many looks, too: a process that writes to a page that it shared holds no more, and shares less."""


def descendants(leaders: Iterable[int]) -> frozenset[int]:
    """Return processes with all their present descendants.

    A process that left (was adopted by another parent) is none; those that end meanwhile are left out by whoever reads them.
    """
    found: set[int] = set()
    waiting = list(leaders)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting += _children(pid)
    return frozenset(found)


def private_bytes(pid: int) -> int:
    """Return what a process holds that would be free without it; 0 if it has gone.

    Pages of files that it maps are not: the kernel drops them for whoever needs the room, and counts them as available.
    """
    return _add_up(pid, "status", _PRIVATE) or 0


@dataclass(frozen=True, slots=True)
class _ReadShare:
    """A process's share of what it holds with others.

    Attributes:
        whole_bytes: what it held when the share was read, bytes.
        share_bytes: its share of that, bytes.
        family: whom it could share with.
        look: number of the look at which it was read.
    """

    whole_bytes: int
    share_bytes: int
    family: frozenset[int]
    look: int

    def holds(self, whole_bytes: int, family: frozenset[int], look: int) -> bool:
        """Whether it is still near enough to what the kernel would say."""
        moved = abs(whole_bytes - self.whole_bytes)
        is_near = moved < max(_MOVED_BYTES, self.whole_bytes // _MOVED_SHARE)
        return is_near and family == self.family and look < self.look + _LOOKS_HELD


class FamilyBytes:
    """What the processes of engines hold, each page counted once.

    Processes of one engine share pages: a server that forks its workers behind its model, and what several of them map. The kernel
    tells of shares by a walk over all pages (12 ms for each GiB), so that they are read only where there is somebody to share with, and
    again where they may have changed.
    """

    def __init__(self) -> None:
        self._look = 0
        self._read: dict[int, _ReadShare] = {}

    def add_up(self, families: Iterable[frozenset[int]]) -> int:
        """Return what the processes of some families hold together."""
        self._look += 1
        read: dict[int, _ReadShare] = {}
        held = 0
        for family in families:
            for pid in family:
                whole = private_bytes(pid)
                if len(family) > 1:
                    known = read[pid] = self._share(pid, whole, family)
                    whole = max(0, known.share_bytes + whole - known.whole_bytes)
                held += whole
        self._read = read
        return held

    def _share(self, pid: int, whole: int, family: frozenset[int]) -> _ReadShare:
        known = self._read.get(pid)
        if known is not None and known.holds(whole, family, self._look):
            return known
        share = _add_up(pid, "smaps_rollup", _SHARES)
        return _ReadShare(whole, whole if share is None else min(share, whole), family, self._look)


def _add_up(pid: int, name: str, fields: tuple[str, ...]) -> int | None:
    """Return the bytes in some lines of a process's file; None if it cannot be read."""
    try:
        lines = process_files.read_text(pid, name).splitlines()
    except OSError:
        return None
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(fields))


def process_name(pid: int) -> str:
    """Return what a process is called; empty if there is none of this number."""
    try:
        return process_files.read_text(pid, "comm").strip()
    except OSError:
        return ""


def largest_holders(own: frozenset[int]) -> tuple[MemoryHolder, ...]:
    """Return the processes that hold the most memory, the largest first.

    Our engines (``own``) and this process are left out.
    """
    others = (pid for pid in process_files.process_ids() if pid not in own and pid != os.getpid())
    sizes = [(_resident_bytes(pid), pid) for pid in others]
    largest = sorted((one for one in sizes if one[0] >= _LEAST_BYTES), reverse=True)[:_MAX_HOLDERS]
    return tuple(MemoryHolder(f"{process_name(pid) or 'a process'} (pid {pid})", size) for size, pid in largest)


def _resident_bytes(pid: int) -> int:
    """Return a process's resident memory without shared and file-backed pages.

    Cheaper than ``private_bytes``; 0 if it has gone.
    """
    try:
        _, resident, shared, *_ = process_files.read_bytes(pid, "statm").split()
    except (OSError, ValueError):  # it has gone, or goes
        return 0
    return (int(resident) - int(shared)) * _PAGE_BYTES


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for thread in process_files.thread_ids(pid):
            found += map(int, process_files.read_bytes(pid, f"task/{thread}/children").split())
    except OSError:
        return found  # it has gone, or the kernel was built without CONFIG_PROC_CHILDREN
    return found
