"""Models on disk: which files and directories are one, what they are called, and the root that holds them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from echoplaned.up.found_models import GGUF, SAFETENSORS, FoundModel, find_models, look_problem


def touch(path: Path) -> Path:
    """Make an empty file and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_files_and_checkpoints_are_found_beneath_a_folder(tmp_path: Path) -> None:
    """The first part of a split file, whole files and checkpoints; no eye, no later part, nothing hidden."""
    first = touch(tmp_path / "big/big-00001-of-00002.gguf")
    touch(tmp_path / "big/big-00002-of-00002.gguf")
    whole = touch(tmp_path / "a.GGUF")
    touch(tmp_path / "mmproj-a.gguf")
    touch(tmp_path / ".hidden/b.gguf")
    touch(tmp_path / "half/config.json")
    touch(tmp_path / "bert/config.json")
    touch(tmp_path / "bert/model.safetensors")
    touch(tmp_path / "1/2/3/4/deep.gguf")
    assert find_models(tmp_path) == [
        FoundModel(whole, GGUF),
        FoundModel(tmp_path / "bert", SAFETENSORS),
        FoundModel(first, GGUF),
    ]


def test_a_path_is_one_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file by itself, a checkpoint by itself, relative or not; other files are none."""
    model = touch(tmp_path / "x/m.gguf")
    monkeypatch.chdir(tmp_path / "x")
    assert find_models(Path("../x/m.gguf")) == [FoundModel(model, GGUF)]
    assert find_models(touch(tmp_path / "x/m.bin")) == []
    assert find_models(tmp_path / "gone") == []


def test_what_may_not_be_looked_at_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that may be listed and not searched, as its mode r-- makes it, and links in a circle: the models beside them are found."""
    touch(tmp_path / "shut/m.gguf")
    whole = touch(tmp_path / "open/m.gguf")
    real = os.stat

    def refusing(path: str | Path, **options: object) -> os.stat_result:
        if "shut/" in str(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", refusing)
    assert find_models(tmp_path) == [FoundModel(whole, GGUF)]
    assert find_models(tmp_path / "shut/m.gguf") == []
    assert look_problem(tmp_path / "shut/m.gguf") == "cannot be looked at: Permission denied"
    touch(tmp_path / "c/config.json")
    (tmp_path / "c/model.safetensors").symlink_to("model.safetensors")
    assert FoundModel(tmp_path / "c", SAFETENSORS).root == tmp_path / "c"


@pytest.mark.parametrize(
    ("path", "model_id"),
    [
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "smollm2-135m-instruct-q4-1-gguf"),
        ("7B_chat.gguf", "b-chat-gguf"),
        ("models--acme--Tiny-1B/snapshots/0a1b", "tiny-1b"),
        ("1234", ""),
    ],
)
def test_ids_are_those_that_load_proposes(path: str, model_id: str) -> None:
    """The last part of the path; of a hub's cache the model's name, not the revision."""
    assert FoundModel(Path("/m") / path, GGUF).model_id == model_id


def test_the_root_holds_what_links_lead_to(tmp_path: Path) -> None:
    """As narrow as it can be: the file's folder, the checkpoint itself, or what a hub's cache links into."""
    assert FoundModel(touch(tmp_path / "m/a.gguf"), GGUF).root == tmp_path / "m"
    touch(tmp_path / "c/config.json")
    assert FoundModel(tmp_path / "c", SAFETENSORS).root == tmp_path / "c"
    hub = tmp_path / "hub/models--acme--Tiny"
    blob = touch(hub / "blobs/00ff")
    (hub / "snapshots/0a").mkdir(parents=True)
    (hub / "snapshots/0a/model.safetensors").symlink_to(blob)
    assert FoundModel(hub / "snapshots/0a", SAFETENSORS).root == hub
