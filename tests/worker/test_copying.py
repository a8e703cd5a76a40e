"""Weights that were views of a file have memory of their own afterwards, each once."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from echoplaned.worker.copying import MappedFiles, own_weights
from echoplaned.worker.weight_memory import WeightMemory
from echoplaned.worker_contract.content import InodeId
from echoplaned.worker_contract.inference.errors import LoadError

pytestmark = pytest.mark.system

# Above a chunk of a copy, and no multiple of a page.
ROWS, COLUMNS = 777, 1001


class Tied(torch.nn.Module):  # type: ignore[misc] # it has no types
    """Two names of one weight, a transposed one, an empty one, and a buffer."""

    def __init__(self, tensors: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.one = torch.nn.Parameter(tensors["one"])
        self.other = self.one
        self.turned = torch.nn.Parameter(tensors["turned"].t())
        self.empty = torch.nn.Parameter(torch.zeros(0))
        self.register_buffer("kept", tensors["kept"])


@contextmanager
def opened(path: Path) -> Iterator[dict[InodeId, int]]:
    """Open a file as a load does."""
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        yield {InodeId(found.st_dev, found.st_ino): file.fileno()}


@pytest.mark.parametrize("ahead_bytes", [None, 1, 64 * 2**20])
@pytest.mark.parametrize("is_open", [True, False])
def test_every_weight_is_copied_once(tmp_path: Path, is_open: bool, ahead_bytes: int | None) -> None:
    """The file may be cut to nothing afterwards; what was tied is tied, and all values are the same.

    However much memory was taken ahead.
    """
    path = tmp_path / "m.safetensors"
    written = {"one": torch.randn(ROWS, COLUMNS), "turned": torch.randn(30, 40), "kept": torch.arange(7.0)}
    save_file(written, path)
    model = Tied(load_file(path))
    assert MappedFiles().holds(model.one.data_ptr())
    with opened(path) as files:
        own_weights(model, files if is_open else {}, None if ahead_bytes is None else WeightMemory(ahead_bytes))
    mapped = MappedFiles()
    tensors = [*model.parameters(), *model.buffers()]
    assert [mapped.holds(tensor.data_ptr()) for tensor in tensors if tensor.numel()] == [False] * 3
    assert model.other is model.one
    with path.open("r+b") as file:
        file.truncate(0)
    assert torch.equal(model.one, written["one"])
    assert torch.equal(model.turned, written["turned"].t())
    assert torch.equal(model.get_buffer("kept"), written["kept"])


def resident_bytes(path: Path) -> int:
    """Return how much of a file's mappings this process has touched."""
    maps = re.findall(rf"{re.escape(str(path))}\n.*?\nRss: +(\d+) kB", Path("/proc/self/smaps").read_text(), re.DOTALL)
    return 1024 * sum(map(int, maps))


def test_weights_of_an_open_file_are_read_and_not_mapped(tmp_path: Path) -> None:
    """A mapping's pages cost a fault for every few of them, and count as the process's until it lets go."""
    path = tmp_path / "m.safetensors"
    save_file({"weight": torch.randn(ROWS, COLUMNS)}, path)
    model = torch.nn.Linear(COLUMNS, ROWS, bias=False)
    kept = load_file(path)["weight"]
    model.weight.data = kept
    with opened(path) as files:
        own_weights(model, files)
    assert resident_bytes(path) < 256 * 1024
    assert torch.equal(model.weight, kept)
    assert resident_bytes(path) > 2 * 1024 * 1024


def test_a_file_that_was_cut_short_is_an_error(tmp_path: Path) -> None:
    """The process lives, and the message names the weight."""
    path = tmp_path / "m.safetensors"
    save_file({"weight": torch.randn(ROWS, COLUMNS)}, path)
    model = torch.nn.Linear(COLUMNS, ROWS, bias=False)
    model.weight.data = load_file(path)["weight"]
    with path.open("r+b") as file:
        file.truncate(1_000_000)
    with opened(path) as files, pytest.raises(LoadError, match="the file ends before the weights of weight"):
        own_weights(model, files)


@pytest.mark.parametrize("at", [0, ROWS * COLUMNS // 2, ROWS * COLUMNS - 1])
def test_a_weight_is_looked_at_while_it_is_copied(tmp_path: Path, at: int) -> None:
    """One NaN anywhere is found, and the weight named."""
    path = tmp_path / "m.safetensors"
    values = torch.randn(ROWS * COLUMNS)
    values[at] = math.nan
    save_file({"weight": values.view(ROWS, COLUMNS)}, path)
    model = torch.nn.Linear(COLUMNS, ROWS, bias=False)
    model.weight.data = load_file(path)["weight"]
    with opened(path) as files, pytest.raises(LoadError, match="the weights of weight are not finite"):
        own_weights(model, files)


def test_a_weight_in_memory_is_looked_at_too() -> None:
    """What a loader put together of several is in no file any more."""
    model = torch.nn.Linear(3, 3)
    model.bias.data[1] = math.inf
    with pytest.raises(LoadError, match="the weights of bias are not finite"):
        own_weights(model, {})


def test_what_has_memory_of_its_own_is_left_alone() -> None:
    """A tensor that was made in memory is where it was."""
    model = torch.nn.Linear(300, 300)
    before = [parameter.data_ptr() for parameter in model.parameters()]
    own_weights(model, {})
    assert [parameter.data_ptr() for parameter in model.parameters()] == before
