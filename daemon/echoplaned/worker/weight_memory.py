"""Memory of the process's own for weights, in huge pages where there are any."""

from __future__ import annotations

import errno
import mmap
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

import torch

_CHUNK_BYTES: Final = 2 * 1024 * 1024
"""Bytes that are written and looked at in one go: they are still in the processor's cache when they are looked at."""

_ALIGNMENT: Final = 64  # bytes; what the widest vector instructions ask for
_MADV_POPULATE_WRITE: Final = 23  # madvise(2): give these pages memory now

Write = Callable[[memoryview, int], None]
"""Writes the bytes of a weight from an offset on into a part of its memory."""

Look = Callable[[torch.Tensor], None]
"""Looks at the values of a part of a weight that has been written."""


class WeightMemory:
    """One anonymous mapping that weights are put into, one behind the other.

    A mapping for each weight would be too small for huge pages in a small model. The memory goes with the last of its tensors.

    Args:
        sizes_bytes: of the weights that will be put into it, in any order.

    Raises:
        MemoryError: there is not so much address space.
    """

    def __init__(self, sizes_bytes: Iterable[int]) -> None:
        whole_bytes = max(mmap.PAGESIZE, sum(map(_aligned, sizes_bytes)))
        try:
            self._memory = mmap.mmap(-1, whole_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except OSError as error:
            if error.errno != errno.ENOMEM:
                raise
            raise MemoryError(f"no address space of {whole_bytes} bytes") from error
        self._used_bytes = 0
        # A page fault in five hundred is left, and where a hypervisor keeps page tables of its own each of them is dear.
        self._advise(mmap.MADV_HUGEPAGE, 0, whole_bytes)

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
                with memory[at:end] as window:
                    write(window, first * item_bytes)
                look(part)
        return tensor.view(like.shape)

    def _advise(self, advice: int, begin: int, end: int) -> None:
        """Tell the kernel what to do with the pages that a range touches.

        It is free to refuse: then there are small pages, and a fault for each.
        """
        first = begin - begin % mmap.PAGESIZE
        with suppress(OSError):
            self._memory.madvise(advice, first, end - first)


def _aligned(size_bytes: int) -> int:
    return -(-size_bytes // _ALIGNMENT) * _ALIGNMENT
