"""Weights lie one behind the other in memory that is written and looked at part by part."""

from __future__ import annotations

import pytest
import torch

from echoplaned.worker.weight_memory import WeightMemory

# Above two parts of 2 MiB, and no multiple of a page.
LARGE = 1_200_001


def written(weights: list[torch.Tensor]) -> tuple[list[torch.Tensor], list[int]]:
    """Put weights into memory; return what is there, and the lengths of the parts that were looked at."""
    memory = WeightMemory(weight.numel() * weight.element_size() for weight in weights)
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
        WeightMemory([1 << 60])


def test_what_looks_may_refuse() -> None:
    """An error of the one who looks is raised, and the memory can be given back."""
    memory = WeightMemory([40])

    def refuse(part: torch.Tensor) -> None:
        raise ValueError(part.tolist())

    with pytest.raises(ValueError, match=r"\[0.0"):
        memory.put(torch.zeros(10), lambda _into, _offset: None, refuse)
