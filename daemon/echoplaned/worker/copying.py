"""Weights get memory of their own: what is a view of a mapped file changes with the file, and ends the process where that is cut short."""

from __future__ import annotations

import ctypes
import mmap
from bisect import bisect_right
from pathlib import Path
from typing import Final

import torch

_MAPS: Final = Path("/proc/self/maps")
_CHUNK_BYTES: Final = 2 * 1024 * 1024
"""Bytes that are in memory twice while a weight is copied."""
_LIBC: Final = ctypes.CDLL(None)
# madvise(2). The first: these pages are read again from the file where they are asked for. The second: give them memory now.
_MADV_DONTNEED: Final = 4
_MADV_POPULATE_WRITE: Final = 23


class MappedFiles:
    """The address ranges of this process that files stand behind, as they are now."""

    def __init__(self) -> None:
        ranges = sorted(_file_ranges(_MAPS.read_text(encoding="utf-8", errors="replace")))
        self._begins = [begin for begin, _ in ranges]
        self._ends = [end for _, end in ranges]

    def holds(self, address: int) -> bool:
        """Say whether an address lies in one of them."""
        place = bisect_right(self._begins, address) - 1
        return place >= 0 and address < self._ends[place]


def own_weights(model: torch.nn.Module) -> None:
    """Copy every parameter and buffer that is a view of a mapped file, one after the other.

    What was copied is let go of at once, so that a model is never in memory twice. A tied weight stays tied.
    """
    mapped = MappedFiles()
    for _, tensor in [*model.named_parameters(), *model.named_buffers()]:
        is_plain = tensor.device.type == "cpu" and not hasattr(tensor, "__tensor_flatten__")
        if is_plain and tensor.numel() and mapped.holds(tensor.data_ptr()):
            tensor.data = _copy(tensor.detach())


def _copy(source: torch.Tensor) -> torch.Tensor:
    if not source.is_contiguous():
        return source.clone()
    copy = torch.empty_like(source)
    begin, end, size_bytes = source.data_ptr(), copy.data_ptr(), source.numel() * source.element_size()
    for done in range(0, size_bytes, _CHUNK_BYTES):
        part_bytes = min(_CHUNK_BYTES, size_bytes - done)
        # One call for what else is five hundred page faults. Not huge pages: from 0.03 to 1.2 s for half a GB, as memory is torn.
        _advise(end + done, part_bytes, _MADV_POPULATE_WRITE)
        # Not torch's own copy: its threads wait for each other at every chunk, for long where the machine is busy.
        ctypes.memmove(end + done, begin + done, part_bytes)
        _advise(begin + done, part_bytes, _MADV_DONTNEED)
    return copy


def _advise(address: int, size_bytes: int, advice: int) -> None:
    """Tell the kernel what to do with the whole pages of a range; what shares a page with the range is left alone.

    It is free to refuse: a copy then takes a fault for each page, and what was not let go of goes with the file's mapping.
    """
    begin = -(-address // mmap.PAGESIZE) * mmap.PAGESIZE
    end = (address + size_bytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if end > begin:
        _LIBC.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), advice)


def _file_ranges(maps: str) -> list[tuple[int, int]]:
    """Return the ranges with an inode, from lines as proc(5) has them."""
    found = []
    for line in maps.splitlines():
        addresses, _, _, _, inode, *_ = line.split(maxsplit=5)
        if inode != "0":
            begin, _, end = addresses.partition("-")
            found.append((int(begin, 16), int(end, 16)))
    return found
