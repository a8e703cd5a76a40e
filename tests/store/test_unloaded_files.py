"""How unloaded models were loaded: kept over restarts, one a model, and no name leads out of the folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from echoplaned.store import unloaded_files
from echoplaned.store.unloaded_files import FOLDER, UnloadedFiles


def test_what_is_kept_is_there_for_the_next_daemon(tmp_path: Path) -> None:
    """The newest of a model counts; files are this user's alone, and what else lies there is left alone."""
    files = UnloadedFiles(tmp_path)
    assert files.read() == {}
    files.keep("mini", b"one")
    files.keep("mini", b"two")
    files.keep("other", b"")
    (tmp_path / FOLDER / "README").write_bytes(b"x")
    assert UnloadedFiles(tmp_path).read() == {"mini": b"two", "other": b""}
    assert (tmp_path / FOLDER / "mini.binpb").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "A", "x" * 64])
def test_names_are_ids(tmp_path: Path, name: str) -> None:
    """Whatever is no model's id is refused."""
    with pytest.raises(OSError, match="no id"):
        UnloadedFiles(tmp_path).keep(name, b"")
    assert not list(tmp_path.rglob("*"))


def test_the_oldest_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There are so many at most."""
    monkeypatch.setattr(unloaded_files, "MAX_KEPT", 2)
    files = UnloadedFiles(tmp_path)
    for age, name in enumerate(("a", "b", "c")):
        files.keep(name, b"")
        os.utime(tmp_path / FOLDER / f"{name}.binpb", (age, age))
    assert files.read().keys() == {"b", "c"}
