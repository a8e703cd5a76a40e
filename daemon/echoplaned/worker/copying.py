"""Copies weights out of mapped files into memory of the process's own.

A view of a mapped file changes with the file, and reading it ends the process (SIGBUS) where the file was cut short.

The files are read, and their mappings are never touched: a fault for every few pages of a mapping costs more than the copy.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import torch

from echoplaned.worker.finite import check_finite
from echoplaned.worker.weight_memory import WeightMemory, Write, needed_bytes
from echoplaned.worker_contract.content import InodeId
from echoplaned.worker_contract.inference.errors import LoadError

_MAPS: Final = Path("/proc/self/maps")
# Begin, end, offset, device and inode; memory without a file has the inode 0. A process has some hundred of these lines.
_FILE_RANGE: Final = re.compile(r"^(\w+)-(\w+) \S+ (\w+) (\w+):(\w+) ([1-9]\d*) ", re.MULTILINE)
_LIBC: Final = ctypes.CDLL(None)


@dataclass(frozen=True, slots=True, order=True)
class FilePlace:
    """A place in a file.

    Attributes:
        file: device and inode.
        offset_bytes: from the file's begin.
    """

    file: InodeId
    offset_bytes: int


class MappedFiles:
    """The address ranges of this process that files stand behind, as they are now."""

    def __init__(self) -> None:
        ranges = sorted(_file_ranges(_MAPS.read_text(encoding="utf-8", errors="replace")))
        self._begins = [begin for begin, _, _ in ranges]
        self._ends = [end for _, end, _ in ranges]
        self._places = [place for _, _, place in ranges]

    def holds(self, address: int) -> bool:
        """Say whether an address lies in one of them."""
        return self.find(address) is not None

    def find(self, address: int) -> FilePlace | None:
        """Return what an address is a view of; None: of no file."""
        number = bisect_right(self._begins, address) - 1
        if number < 0 or address >= self._ends[number]:
            return None
        place = self._places[number]
        return FilePlace(place.file, place.offset_bytes + address - self._begins[number])


@dataclass(frozen=True, slots=True)
class _MappedWeight:
    """A weight of a model that is a view of a file."""

    place: FilePlace
    name: str
    tensor: torch.Tensor

    @property
    def size_bytes(self) -> int:
        """Bytes of its values."""
        return int(self.tensor.numel() * self.tensor.element_size())


def own_weights(model: torch.nn.Module, open_files: Mapping[InodeId, int], ahead: WeightMemory | None = None) -> None:
    """Copy every weight that is a view of a mapped file, and look at all weights.

    Weights are parameters and buffers.

    They are read one after the other as they lie in the files, and looked at while they are copied, so nothing is in memory twice. A tied
    weight stays tied.

    Args:
        model: whose weights.
        open_files: descriptors of files, to read the weights from. A weight in another file is copied through its mapping.
        ahead: memory that was taken ahead; it is used where it is large enough.

    Raises:
        LoadError: a weight holds NaN or an infinity, or a file ends before it.
        MemoryError: there is no room for the copies.
    """
    views = _mapped_weights(model)
    needed = needed_bytes(view.size_bytes for view in views)
    with _one_thread(), ahead if ahead is not None and needed <= ahead.size_bytes else WeightMemory(needed) as memory:
        memory.take_ahead(needed)
        for view in sorted(views, key=lambda view: view.place):
            source, look = view.tensor.detach(), partial(check_finite, view.name)
            if source.is_contiguous():
                view.tensor.data = memory.put(source, _writer(view, open_files), look)
            else:
                view.tensor.data = source.clone()
                look(view.tensor)


def _mapped_weights(model: torch.nn.Module) -> list[_MappedWeight]:
    """Return the weights that are views of files.

    Parameters that are none are looked at.
    """
    mapped, views = MappedFiles(), []
    parameters = list(model.named_parameters())
    for number, (name, tensor) in enumerate([*parameters, *model.named_buffers()]):
        if tensor.device.type != "cpu" or hasattr(tensor, "__tensor_flatten__") or not tensor.numel():
            continue
        place = mapped.find(tensor.data_ptr())
        if place is not None:
            views.append(_MappedWeight(place, name, tensor))
        elif number < len(parameters):  # a buffer that the model made for itself may hold an infinity: a mask, say
            check_finite(name, tensor.detach())
    return views


def _writer(view: _MappedWeight, open_files: Mapping[InodeId, int]) -> Write:
    """Return what writes a weight's bytes, from its file where that is open."""
    descriptor = open_files.get(view.place.file)
    if descriptor is None:
        return partial(_copy_mapped, view.tensor.data_ptr())
    return partial(_read, descriptor, view.place.offset_bytes, view.name)


def _read(descriptor: int, begin: int, name: str, into: memoryview, offset: int) -> None:
    """Fill a part of memory from a file."""
    done = 0
    while done < len(into):
        got = os.preadv(descriptor, [into[done:]], begin + offset + done)
        if not got:
            raise LoadError(f"the file ends before the weights of {name}")
        done += got


def _copy_mapped(begin: int, into: memoryview, offset: int) -> None:
    """Fill a part of memory from a mapping.

    The whole pages that were copied are let go of.
    """
    source, end = begin + offset, begin + offset + len(into)
    target = (ctypes.c_char * len(into)).from_buffer(into)
    ctypes.memmove(target, source, len(into))
    first, last = -(-source // mmap.PAGESIZE) * mmap.PAGESIZE, end // mmap.PAGESIZE * mmap.PAGESIZE
    if first < last:  # read again from the file if asked for; the kernel may refuse, and they go with the mapping
        _LIBC.madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), mmap.MADV_DONTNEED)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch use this thread alone.

    Its threads would wait for each other at every part, for long on a busy machine.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _file_ranges(maps: str) -> Iterator[tuple[int, int, FilePlace]]:
    """Yield the ranges with an inode, from lines as proc(5) has them."""
    for begin, end, offset, major, minor, inode in _FILE_RANGE.findall(maps):
        file = InodeId(os.makedev(int(major, 16), int(minor, 16)), int(inode))
        yield int(begin, 16), int(end, 16), FilePlace(file, int(offset, 16))
