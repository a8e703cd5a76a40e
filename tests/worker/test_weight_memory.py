"""Weights lie one behind the other in memory that is written and looked at part by part."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path

import pytest
import torch

from echoplaned.worker.weight_memory import WeightMemory, needed_bytes

# Above two parts of 2 MiB, and no multiple of a page.
LARGE = 1_200_001


def written(weights: list[torch.Tensor]) -> tuple[list[torch.Tensor], list[int]]:
    """Put weights into memory; return what is there, and the lengths of the parts that were looked at."""
    memory = WeightMemory(needed_bytes(weight.numel() * weight.element_size() for weight in weights))
    looked: list[int] = []
    copies = []
    for weight in weights:
        raw = weight.contiguous().view(torch.uint8).numpy().reshape(-1).data

        def write(into: memoryview, offset: int, raw: memoryview = raw) -> None:
            into[:] = raw[offset : offset + len(into)]

        copies.append(memory.put(weight, write, lambda part: looked.append(part.numel())))
    return copies, looked


def test_what_was_written_is_there() -> None:
    """Shapes, dtypes and values are those that were asked for, behind each other and aligned."""
    weights = [
        torch.randn(3, 5, 7),
        torch.randn(LARGE),
        torch.randn(9, dtype=torch.float64).to(torch.bfloat16),
        torch.arange(11),
    ]
    copies, looked = written(weights)
    for copy, weight in zip(copies, weights, strict=True):
        assert copy.dtype == weight.dtype
        assert torch.equal(copy, weight)
        assert copy.data_ptr() % 64 == 0
        assert copy.untyped_storage().nbytes() == weight.numel() * weight.element_size()
    assert sum(looked) == sum(weight.numel() for weight in weights)
    assert max(looked) * 4 == 2 * 1024 * 1024


def test_it_lives_as_long_as_one_of_its_tensors() -> None:
    """The memory object may go before what was put into it, which can be written."""
    (copy, _), _ = written([torch.zeros(1000), torch.zeros(10)])
    copy += 1.0
    assert copy.sum() == 1000.0


def test_too_much_is_no_memory() -> None:
    """More than there is address space for is a typed error."""
    with pytest.raises(MemoryError, match="address space"):
        WeightMemory(1 << 60)


def test_what_looks_may_refuse() -> None:
    """An error of the one who looks is raised, and the memory can be given back."""
    memory = WeightMemory(40)

    def refuse(part: torch.Tensor) -> None:
        raise ValueError(part.tolist())

    with pytest.raises(ValueError, match=r"\[0.0"):
        memory.put(torch.zeros(10), lambda _into, _offset: None, refuse)


def resident_bytes(tensor: torch.Tensor) -> int:
    """Return how much of a tensor's mapping is in memory."""
    address = tensor.data_ptr()
    maps = re.findall(
        r"^(\w+)-(\w+) .*?^Rss: +(\d+) kB", Path("/proc/self/smaps").read_text(), re.DOTALL | re.MULTILINE
    )
    (found,) = (int(kib) for begin, end, kib in maps if int(begin, 16) <= address < int(end, 16))
    return 1024 * found


def put_zeros(memory: WeightMemory, count: int) -> torch.Tensor:
    """Put a weight of so many FP32 zeros."""
    return memory.put(torch.empty(count), lambda _into, _offset: None, lambda _part: None)


def test_memory_is_taken_ahead() -> None:
    """By another thread, and what is written into it is there."""
    with WeightMemory(64 * 2**20) as memory:
        (first, second) = (put_zeros(memory, 10), put_zeros(memory, LARGE))
        memory.take_ahead(40 * 2**20)
        until_s = time.monotonic() + 30.0
        while resident_bytes(first) < 40 * 2**20 and time.monotonic() < until_s:
            time.sleep(0.01)
        assert 40 * 2**20 <= resident_bytes(first) <= 44 * 2**20
        second += 1.0
    assert second.sum() == LARGE


def test_what_is_not_used_is_given_back() -> None:
    """And nothing more is taken."""
    before = threading.active_count()
    with WeightMemory(256 * 2**20) as memory:
        memory.take_ahead(256 * 2**20)
        weight = put_zeros(memory, LARGE)
        weight += 2.0
    assert threading.active_count() == before
    assert resident_bytes(weight) <= 4 * LARGE + 4 * 2**20
    assert weight.sum() == 2.0 * LARGE


def test_too_little_was_taken_ahead() -> None:
    """A weight that does not fit any more is an error of ours, and nothing is written."""
    with WeightMemory(4096) as memory, pytest.raises(ValueError, match="buffer"):
        put_zeros(memory, LARGE)
