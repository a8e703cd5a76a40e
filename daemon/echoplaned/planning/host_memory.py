"""The host's memory: physical, and what cgroups allow of it.

Version 2 of cgroups (https://docs.kernel.org/admin-guide/cgroup-v2.html) has ``memory.max``, ``memory.current`` and ``memory.stat``.
Version 1, which older hosts mount, alone or beside it, has a hierarchy ``memory`` with ``memory.limit_in_bytes``,
``memory.usage_in_bytes`` and a ``memory.stat`` whose totals begin with ``total_``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

_CGROUP_ROOT: Final = Path("/sys/fs/cgroup")
_CGROUP_SELF: Final = Path("/proc/self/cgroup")
_DROPPED: Final = ("active_file", "inactive_file", "slab_reclaimable")
"""What the kernel gives to whoever needs it, as ``MemAvailable`` counts it too."""


@dataclass(frozen=True, slots=True)
class Room:
    """A part of the host's memory that has a limit of its own.

    Attributes:
        total_bytes: physical memory, or the cgroup's limit, bytes.
        free_bytes: what is free within it, or can be had at once, bytes; at least 0.
    """

    total_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class MemoryFiles:
    """Where the kernel's files about memory are.

    Attributes:
        root: the directory where cgroups are mounted.
        membership: the file that says which cgroups this process is in.
    """

    root: Path = field(default=_CGROUP_ROOT)
    membership: Path = field(default=_CGROUP_SELF)

    def limits(self) -> list[int]:
        """Return the memory limits of this process's cgroups and their parents, in bytes.

        Empty where there are none.
        """
        return [limit for _, _, limit in self._limited()]

    def tightest(self) -> Room:
        """Return the host or the cgroup, own or a parent, that has the least free."""
        memory = psutil.virtual_memory()
        rooms = [Room(int(memory.total), int(memory.available))]
        rooms += (_room(folder, version, limit) for folder, version, limit in self._limited())
        return min(rooms, key=lambda room: room.free_bytes)

    def _limited(self) -> Iterator[tuple[Path, int, int]]:
        """Yield every cgroup with a limit: folder, version, and the limit in bytes."""
        try:
            lines = self.membership.read_text(encoding="utf-8").splitlines()
        except OSError:
            return
        for line in lines:
            _, controllers, own = line.split(":", 2)
            if not controllers:
                yield from _upwards(self.root, own, 2)
            elif "memory" in controllers.split(","):
                yield from _upwards(self.root / "memory", own, 1)


def _upwards(root: Path, own: str, version: int) -> Iterator[tuple[Path, int, int]]:
    leaf = root / own.lstrip("/")
    if not leaf.is_relative_to(root) or ".." in leaf.parts:  # another namespace's path
        leaf = root
    for folder in (leaf, *leaf.parents):
        # In a container the root itself may carry the limit.
        limit = _read_number(folder / _NAMES[version][0]) if folder.is_relative_to(root) else None
        if limit is not None:
            yield folder, version, limit


_NAMES: Final = {1: ("memory.limit_in_bytes", "memory.usage_in_bytes"), 2: ("memory.max", "memory.current")}


def _room(folder: Path, version: int, limit: int) -> Room:
    used = _read_number(folder / _NAMES[version][1])
    if used is None:
        return Room(limit, limit)
    prefix = "total_" if version == 1 else ""
    dropped = sum(_read_stat(folder).get(prefix + name, 0) for name in _DROPPED)
    return Room(limit, max(0, limit - max(0, used - dropped)))


def _read_stat(folder: Path) -> dict[str, int]:
    try:
        lines = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    pairs = (line.split() for line in lines)
    return {name: int(number) for name, number in pairs if number.isdecimal()}


def _read_number(path: Path) -> int | None:
    """Return a number of bytes; None where the file is missing or says ``max``."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None
