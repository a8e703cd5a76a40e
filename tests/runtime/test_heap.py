"""Free memory goes back to the system, and only where that is worth it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from echoplaned.runtime.heap import REST_BYTES, SLACK_BYTES, HeapTrimmer, HeapUse

MIB = 1024 * 1024

_SCRIPT = """
import ctypes
from echoplaned.runtime.heap import GlibcHeap, HeapTrimmer

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
heap = GlibcHeap()
trimmer = HeapTrimmer(heap)
before = heap.read().resident_bytes
blocks = [libc.malloc(100_000) for _ in range(1000)]
for block in blocks:
    ctypes.memset(block, 1, 100_000)
for block in blocks[:-1]:  # the last one holds the rest
    libc.free(block)
kept = heap.read().resident_bytes - before
trimmer.look()
print(kept, heap.read().resident_bytes - before, trimmer.look())
"""


def test_blocks_before_one_that_stays_go_back() -> None:
    """A hundred megabytes that one block at the heap's end would hold are gone after a look, and the next one finds nothing to do."""
    done = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=True, timeout=60)
    kept, left, again = done.stdout.split()
    assert int(kept) > 90 * MIB
    assert int(left) < 8 * MIB
    assert again == "False"


@dataclass
class ModelHeap:
    """A heap in numbers: blocks in use, free ones that are resident, and free ones that are not."""

    used: int = 0
    kept: int = 0
    returned: int = 0
    trims: int = 0

    def read(self) -> HeapUse:
        """Return how it is used."""
        return HeapUse(self.used + self.kept, self.kept + self.returned)

    def trim(self) -> None:
        """Hand back what is kept."""
        self.trims += 1
        self.returned += self.kept
        self.kept = 0

    def grow(self, size: int) -> None:
        """Use more: what is kept first, then what was handed back, then new memory."""
        self.used += size
        again = min(size, self.kept)
        self.kept -= again
        self.returned -= min(size - again, self.returned)

    def free(self, size: int) -> None:
        """Use less."""
        size = min(size, self.used)
        self.used -= size
        self.kept += size


@given(st.lists(st.tuples(st.sampled_from(["grow", "free", "look"]), st.integers(0, 100 * MIB)), max_size=60))
def test_little_is_kept_however_callers_come_and_go(events: list[tuple[str, int]]) -> None:
    """After a look less than twice the slack is kept, whatever came before it; at rest next to nothing, and no look trims again."""
    heap = ModelHeap(used=80 * MIB)
    trimmer = HeapTrimmer(heap)
    for event, size in [*events, ("look", 0)]:
        if event == "grow":
            heap.grow(size)
        elif event == "free":
            heap.free(size)
        else:
            trimmer.look()
            assert heap.kept < 2 * SLACK_BYTES
    trimmer.look()
    trimmer.look()
    assert heap.kept < 2 * REST_BYTES
    trims = heap.trims
    for _ in range(10):
        assert not trimmer.look()
    assert heap.trims == trims


def test_what_is_not_worth_a_trim_goes_back_at_rest() -> None:
    """A megabyte that became free stays while callers come and go, and is handed back once when nothing changes any more."""
    heap = ModelHeap(used=80 * MIB)
    trimmer = HeapTrimmer(heap)
    trimmer.look()
    for size in (2 * MIB, 3 * MIB, 2 * MIB, 3 * MIB):
        heap.grow(size)
        trimmer.look()
        heap.free(size)
    before = heap.trims
    assert heap.kept == 3 * MIB
    assert [trimmer.look() for _ in range(5)].count(True) == 1
    assert (heap.kept, heap.trims) == (0, before + 1)


def test_a_heap_that_grows_is_left_alone() -> None:
    """Where callers come and stay, nothing is free, and nothing is trimmed."""
    heap = ModelHeap(used=80 * MIB)
    trimmer = HeapTrimmer(heap)
    for _ in range(50):
        heap.grow(30 * MIB)
        trimmer.look()
    assert heap.trims == 0


_THREADS_SCRIPT = """
import os, sys, threading
from pathlib import Path
from echoplaned.runtime.heap import settle_heap

settle_heap(dict(part.split("=", 1) for part in sys.argv[1:]))
ready = threading.Barrier(5)
hold = threading.Event()

def work():
    blocks = [bytearray(1000) for _ in range(100)]
    ready.wait()
    hold.wait()

threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
ready.wait()
# glibc reserves 64 MiB for a heap that is not the first, of which it makes a part accessible.
print(sum(1 for line in Path("/proc/self/maps").read_text().splitlines() if is_heap(line)))
hold.set()
"""

_IS_HEAP = """
def is_heap(line):
    begin, end = (int(part, 16) for part in line.split()[0].split("-"))
    return line.split()[1] == "---p" and line.split()[4] == "0" and 32 << 20 < end - begin < 64 << 20
"""


def _heaps_beside_the_first(*environment: str) -> int:
    """Return how many heaps four threads make beside the main one."""
    command = [sys.executable, "-c", _IS_HEAP + _THREADS_SCRIPT, *environment]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return int(done.stdout)


def test_all_threads_share_one_heap() -> None:
    """Threads make no heaps of their own, unless the environment says how many there may be."""
    assert _heaps_beside_the_first() == 0
    assert _heaps_beside_the_first("MALLOC_ARENA_MAX=8") > 0
    assert _heaps_beside_the_first("GLIBC_TUNABLES=glibc.malloc.arena_max=8") > 0
