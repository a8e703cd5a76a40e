"""Keeps the daemon's heap in one piece, and gives free memory back.

It goes back to the system after a burst of callers.

What a burst of callers took is freed with them, and glibc keeps it: it hands back the end of its heap only, and one small block that
lives on behind the freed ones holds all of them. After 20 streams with 20,000 names each 50 of 80 MiB were free blocks that stayed
resident, and each further burst left more of them. ``malloc_trim`` hands back free pages wherever they are. Some 10 MiB more are held by
objects of ended calls that refer to each other, until they are collected.

By itself glibc makes a heap for each thread that finds the others busy (gRPC has a dozen), and raises the size from which a block gets a
mapping of its own to that of the largest one freed. Both scatter what lives on: 10 of 96 MiB were free blocks after the start, and 14
after 60,000 streams; with one heap and a fixed size 0.2 and 1.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

SLACK_BYTES: Final = 8 * 1024 * 1024
"""What is not worth a trim, which takes milliseconds and has pages faulted in again; up to twice as much may be kept."""

REST_BYTES: Final = 512 * 1024
"""Of a process at rest the resident memory changes by less from look to look: timers and probes go on."""

REST_SLACK_BYTES: Final = 256 * 1024
"""What goes back then: nobody waits for the milliseconds."""

INTERVAL_S: Final = 5.0
_STATM: Final = Path("/proc/self/statm")


# Parameter of mallopt(3), from malloc.h; its variable of the environment; its name among glibc's tunables; the daemon's value.
_SETTLED: Final = (
    (-8, "MALLOC_ARENA_MAX", "arena_max", 1),
    (-3, "MALLOC_MMAP_THRESHOLD_", "mmap_threshold", 128 * 1024),
)


def settle_heap(environment: Mapping[str, str]) -> None:
    """Have one heap for all threads, and mappings for large blocks.

    A block of 128 KiB or more gets one of its own.
    Call it before threads are started. What the environment sets stays as it sets it; nothing is done where the C library is not glibc.
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        return
    tunables = environment.get("GLIBC_TUNABLES", "")
    for parameter, variable, tunable, value in _SETTLED:
        if variable not in environment and tunable not in tunables:
            libc.mallopt(parameter, value)


@dataclass(frozen=True, slots=True)
class HeapUse:
    """How much memory the process uses, and how much of its heap is free.

    Attributes:
        resident_bytes: resident memory of the process, bytes.
        free_bytes: free bytes of the heap, resident or not.
    """

    resident_bytes: int
    free_bytes: int


class Heap(Protocol):
    """A heap that can be looked at and trimmed; both from any thread."""

    def read(self) -> HeapUse:
        """Return how it is used now."""
        ...

    def trim(self) -> None:
        """Hand free pages back."""
        ...


# In the order of malloc.h.
_MALLINFO_FIELDS: Final = (
    *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
    *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
)


class _MallInfo(ctypes.Structure):
    """``struct mallinfo2``, mallinfo(3).

    ``fordblks`` is what is free, ``uordblks`` and ``hblkhd`` what is not.
    """

    _fields_ = tuple((name, ctypes.c_size_t) for name in _MALLINFO_FIELDS)
    uordblks: int
    hblkhd: int
    fordblks: int


class GlibcHeap:
    """This process's heap.

    Where the C library is not glibc (2.33 or newer), nothing is free and nothing is trimmed.
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None)
        self._known = hasattr(self._libc, "mallinfo2") and hasattr(self._libc, "malloc_trim")
        if self._known:
            self._libc.mallinfo2.restype = _MallInfo
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")

    def read(self) -> HeapUse:
        """Return how it is used now."""
        if not self._known:
            return HeapUse(0, 0)
        resident = int(_STATM.read_text(encoding="ascii").split()[1]) * self._page_bytes
        return HeapUse(resident, int(self._libc.mallinfo2().fordblks))

    def used_bytes(self) -> int:
        """Return the bytes of the heap's blocks that are in use.

        Python's small objects are not among them: they have pools of their own.
        """
        if not self._known:
            return 0
        info = self._libc.mallinfo2()
        return int(info.uordblks) + int(info.hblkhd)

    def trim(self) -> None:
        """Hand free pages back; takes milliseconds, in which threads that allocate wait."""
        if self._known:
            self._libc.malloc_trim(0)


class HeapTrimmer:
    """Decides when a heap is trimmed.

    Free blocks that were handed back still count as free, so neither figure alone says that a trim is worth it: it is where more became
    free, or where more is resident, than at the last trim, or at the least since then. Less than that goes back once the process is at
    rest: two looks see the same.

    Args:
        heap: which one.
    """

    def __init__(self, heap: Heap) -> None:
        self._heap = heap
        self._least = self._last = heap.read()

    def look(self) -> bool:
        """Trim the heap if that is worth it; say whether it was."""
        if not self.is_due():
            return False
        self.trim()
        return True

    def is_due(self) -> bool:
        """Say whether a trim is worth it now."""
        now = self._heap.read()
        slack = REST_SLACK_BYTES if abs(now.resident_bytes - self._last.resident_bytes) < REST_BYTES else SLACK_BYTES
        self._last = now
        grown = now.resident_bytes - self._least.resident_bytes >= slack <= now.free_bytes
        freed = now.free_bytes - self._least.free_bytes >= slack
        if not grown and not freed:
            self._least = HeapUse(
                min(now.resident_bytes, self._least.resident_bytes), min(now.free_bytes, self._least.free_bytes)
            )
        return grown or freed

    def trim(self) -> None:
        """Trim the heap."""
        self._heap.trim()
        self._least = self._last = self._heap.read()

    async def run(self, interval_s: float = INTERVAL_S) -> None:
        """Trim when it is worth it, checked at intervals, until cancelled.

        What takes long is done beside the loop.
        """
        gc.collect()
        gc.freeze()  # what a daemon is made of stays: later collections need not look at it, and take no time that callers notice
        while True:
            await asyncio.sleep(interval_s)
            if await asyncio.to_thread(self.is_due):
                # Calls that ended leave circles, and these hold what was sent. Here, not in the thread: they are of the loop's objects.
                gc.collect()
                await asyncio.to_thread(self.trim)
