"""What processes of this host hold, from ``/proc`` (proc(5))."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final

from echoplaned import process_files
from echoplaned.core.memory import MemoryHolder

_MIB: Final = 1024 * 1024
_MAX_HOLDERS: Final = 3
_LEAST_BYTES: Final = 64 * _MIB
"""Whoever holds less is no answer to where the memory is."""
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_PRIVATE: Final = ("RssAnon:", "RssShmem:")


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
    try:
        lines = process_files.read_text(pid, "status").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(_PRIVATE))


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
