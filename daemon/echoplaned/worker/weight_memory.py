"""Memory of the process's own for weights, in huge pages where there are any."""

from __future__ import annotations

import ctypes
import errno
import mmap
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final, Self

import torch

_CHUNK_BYTES: Final = 2 * 1024 * 1024
"""Bytes that are written and looked at in one go: they are still in the processor's cache when they are looked at."""

_ALIGNMENT: Final = 64  # bytes; what the widest vector instructions ask for
_MADV_POPULATE_WRITE: Final = 23  # madvise(2): give these pages memory now
_LIBC: Final = ctypes.CDLL(None)

Write = Callable[[memoryview, int], None]
"""Writes the bytes of a weight from an offset on into a part of its memory."""

Look = Callable[[torch.Tensor], None]
"""Looks at the values of a part of a weight that has been written."""


class WeightMemory:
    """One anonymous mapping that weights are put into, one behind the other.

    A mapping for each weight would be too small for huge pages in a small model. The memory goes with the last of its tensors.

    Args:
        size_bytes: at most so much is put into it; ``needed_bytes`` tells. Address space alone, until it is written or taken ahead.

    Raises:
        MemoryError: there is not so much address space.
    """

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes: Final = max(mmap.PAGESIZE, size_bytes)
        try:
            self._memory = mmap.mmap(-1, self.size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except OSError as error:
            if error.errno != errno.ENOMEM:
                raise
            raise MemoryError(f"no address space of {size_bytes} bytes") from error
        self._address = torch.frombuffer(self._memory, dtype=torch.uint8).data_ptr()
        self._used_bytes = 0
        self._written_bytes = 0
        self._ahead: list[threading.Thread] = []
        self._closed = False
        # A page fault in five hundred is left, and where a hypervisor keeps page tables of its own each of them is dear.
        self._advise(mmap.MADV_HUGEPAGE, 0, self.size_bytes)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Take nothing more ahead, and give back what was taken and not used."""
        self._closed = True
        for thread in self._ahead:
            thread.join()
        first = -(-self._used_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        if first < self.size_bytes:
            self._advise(mmap.MADV_DONTNEED, first, self.size_bytes)

    def take_ahead(self, size_bytes: int) -> None:
        """Let a thread take memory for the first bytes, from their end on downwards.

        To take memory costs more than to copy into it: the kernel clears it, and a hypervisor may have to ask its host for it.
        """
        thread = threading.Thread(
            target=self._take, args=(min(size_bytes, self.size_bytes),), name="weight memory", daemon=True
        )
        with suppress(RuntimeError):  # there is no thread to be had: memory is taken when it is written
            thread.start()
            self._ahead.append(thread)

    def _take(self, end: int) -> None:
        """Take memory from an end on downwards, until what is written is met."""
        for first in range((end - 1) // _CHUNK_BYTES * _CHUNK_BYTES, -1, -_CHUNK_BYTES):
            if self._closed or first < self._written_bytes:
                return
            self._advise(_MADV_POPULATE_WRITE, first, min(first + _CHUNK_BYTES, end))

    def put(self, like: torch.Tensor, write: Write, look: Look) -> torch.Tensor:
        """Return a contiguous tensor of the form of another one, with what is written.

        ``look`` sees every part right after it was written; what either of them raises is raised.
        """
        begin, item_bytes, count = self._used_bytes, like.element_size(), like.numel()
        self._used_bytes += _aligned(count * item_bytes)
        tensor = torch.frombuffer(self._memory, dtype=like.dtype, count=count, offset=begin)
        step = _CHUNK_BYTES // item_bytes
        with memoryview(self._memory) as memory:
            for first in range(0, count, step):
                part = tensor[first : first + step]
                at, end = begin + first * item_bytes, begin + (first + part.numel()) * item_bytes
                self._advise(_MADV_POPULATE_WRITE, at, end)
                self._written_bytes = end
                with memory[at:end] as window:
                    write(window, first * item_bytes)
                look(part)
        return tensor.view(like.shape)

    def _advise(self, advice: int, begin: int, end: int) -> None:
        """Tell the kernel what to do with the pages that a range touches.

        Other threads go on meanwhile. It is free to refuse: then there are small pages, and a fault for each.
        """
        first = begin - begin % mmap.PAGESIZE
        _LIBC.madvise(ctypes.c_void_p(self._address + first), ctypes.c_size_t(end - first), advice)


def needed_bytes(sizes_bytes: Iterable[int]) -> int:
    """Return how much memory weights of these sizes take, one behind the other."""
    return sum(map(_aligned, sizes_bytes))


def _aligned(size_bytes: int) -> int:
    return -(-size_bytes // _ALIGNMENT) * _ALIGNMENT
