"""The engine reads the weights that the planner counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from echoplaned.planning import inspect_checkpoint
from echoplaned.worker.weight_files import INDEX_NAME, loadable, weight_files
from echoplaned.worker_contract.inference.errors import LoadError
from tests.planning.conftest import Draft, safetensors_file


def split(directory: Path, draft: Draft) -> None:
    """Write the draft's tensors in two files with an index that has the map alone."""
    names = sorted(draft.tensors)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for part, held in parts.items():
        (directory / part).write_bytes(safetensors_file({name: draft.tensors[name] for name in held}))
    placed = {name: part for part, held in parts.items() for name in held}
    (directory / INDEX_NAME).write_text(json.dumps({"weight_map": placed}))


def test_the_engine_and_the_planner_agree(tmp_path: Path) -> None:
    """Both read the one file where it is there, whatever a stale index says, and else what the index names."""
    draft = Draft()
    draft.write(tmp_path)
    split(tmp_path, draft)
    for expected in (["model.safetensors"], ["a.safetensors", "b.safetensors"]):
        planned = [name for name in inspect_checkpoint(tmp_path).files if name.endswith(".safetensors")]
        assert [path.name for path in weight_files(tmp_path)] == planned == expected
        (tmp_path / "model.safetensors").unlink(missing_ok=True)


def test_an_index_without_metadata_gets_some(tmp_path: Path) -> None:
    """The directory that is loaded holds links to every file and an index that transformers reads; the source is left as it is."""
    draft = Draft()
    draft.write(tmp_path)
    with loadable(tmp_path) as path:
        assert path == tmp_path
    split(tmp_path, draft)
    (tmp_path / "model.safetensors").unlink()
    before = (tmp_path / INDEX_NAME).read_bytes()
    with loadable(tmp_path) as path:
        assert path != tmp_path
        assert json.loads((path / INDEX_NAME).read_text())["metadata"] == {}
        assert (path / "a.safetensors").resolve() == (tmp_path / "a.safetensors").resolve()
        assert (path / "config.json").is_file()
    assert not path.exists()
    assert (tmp_path / INDEX_NAME).read_bytes() == before


@pytest.mark.parametrize(
    "text", ["[", "[]", "{}", '{"weight_map": {"a": 1}}', '{"weight_map": {"a": "../b.safetensors"}}']
)
def test_a_damaged_index_is_named(tmp_path: Path, text: str) -> None:
    """What is no map of file names is refused, and the message says which file."""
    (tmp_path / INDEX_NAME).write_text(text)
    with pytest.raises(LoadError, match="index"):
        weight_files(tmp_path)
