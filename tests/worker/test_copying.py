"""Weights that were views of a file have memory of their own afterwards, each once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from echoplaned.worker.copying import MappedFiles, own_weights

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


def test_every_weight_is_copied_once(tmp_path: Path) -> None:
    """The file may be cut to nothing afterwards; what was tied is tied, and all values are the same."""
    path = tmp_path / "m.safetensors"
    written = {"one": torch.randn(ROWS, COLUMNS), "turned": torch.randn(30, 40), "kept": torch.arange(7.0)}
    save_file(written, path)
    model = Tied(load_file(path))
    assert MappedFiles().holds(model.one.data_ptr())
    own_weights(model)
    mapped = MappedFiles()
    tensors = [*model.parameters(), *model.buffers()]
    assert [mapped.holds(tensor.data_ptr()) for tensor in tensors if tensor.numel()] == [False] * 3
    assert model.other is model.one
    with path.open("r+b") as file:
        file.truncate(0)
    assert torch.equal(model.one, written["one"])
    assert torch.equal(model.turned, written["turned"].t())
    assert torch.equal(model.get_buffer("kept"), written["kept"])


def test_what_has_memory_of_its_own_is_left_alone() -> None:
    """A tensor that was made in memory is where it was."""
    model = torch.nn.Linear(300, 300)
    before = [parameter.data_ptr() for parameter in model.parameters()]
    own_weights(model)
    assert [parameter.data_ptr() for parameter in model.parameters()] == before
