"""Finds and removes shared memory that processes map by name (shm_overview(7)).

Whoever made a segment removes it, or Python's resource tracker does for it. Where both are killed nobody would, and it stays until the
machine starts again: vLLM's queues are 400 MiB.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from echoplaned import process_files

_FOLDER: Final = "/dev/shm/"  # noqa: S108 - where the system keeps them
_DELETED: Final = " (deleted)"
_FIELDS: Final = 6  # proc(5): fields of a line of /proc/PID/maps, the path last
_INODE: Final = 4


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of shared memory with a name.

    Attributes:
        path: file that stands for it.
        inode: number of the file, by which it is known from a later one of the same name.
    """

    path: str
    inode: int


def find_segments(pid: int) -> frozenset[Segment]:
    """Return the segments that a process maps; none where it has gone."""
    try:
        maps = process_files.read_text(pid, "maps")
    except OSError:
        return frozenset()
    lines = (line.split(None, _FIELDS - 1) for line in maps.splitlines() if _FOLDER in line)
    return frozenset(
        Segment(fields[-1], int(fields[_INODE]))
        for fields in lines
        if len(fields) == _FIELDS and fields[-1].startswith(_FOLDER) and not fields[-1].endswith(_DELETED)
    )


def remove_segments(segments: Iterable[Segment], others: Iterable[int]) -> None:
    """Remove segments that are still there, and that no other process maps.

    ``others``: process ids that may map them as well.
    """
    left = {one for one in segments if _is_own(one)}
    if not left:
        return
    left -= frozenset().union(*(find_segments(pid) for pid in others))
    for one in left:
        with contextlib.suppress(OSError):
            Path(one.path).unlink()


def _is_own(segment: Segment) -> bool:
    """Whether it is there, is the very one that was mapped, and is this user's."""
    try:
        found = os.stat(segment.path, follow_symlinks=False)  # noqa: PTH116 - a path as the kernel writes it
    except OSError:
        return False
    return found.st_ino == segment.inode and found.st_uid == os.geteuid()
