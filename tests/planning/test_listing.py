"""Checkpoints beneath the roots, found by their names: each once, within bounds, and nothing behind a link."""

from __future__ import annotations

from pathlib import Path

import pytest

from echoplaned.planning import listing
from echoplaned.planning.listing import list_sources


def make(path: Path) -> None:
    """Make a file and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_checkpoints_are_found(tmp_path: Path) -> None:
    """Directories with a config, a hub's, and GGUF files, three deep; of a path in two roots the first counts; links are not followed."""
    one, two = tmp_path / "one", tmp_path / "two"
    for path in (
        "b/config.json",
        "a/org/config.json",
        "x.GGUF",
        "models--Org--N/snapshots/r/config.json",
        ".hidden/config.json",
    ):
        make(one / path)
    for path in ("b/config.json", "c/y.gguf", "1/2/3/4/config.json", "notes/readme.txt", "b/inner/config.json"):
        make(two / path)
    (two / "link").symlink_to(one / "b")
    assert list_sources((one, two, tmp_path / "gone")) == ("a/org", "b", "models--Org--N", "x.GGUF", "c/y.gguf")


def test_lists_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list ends at its bound, and so does the search for it."""
    for index in range(20):
        make(tmp_path / f"m{index:02}" / "config.json")
    monkeypatch.setattr(listing, "MAX_SOURCES", 5)
    assert len(list_sources((tmp_path,))) == 5
    monkeypatch.setattr(listing, "_MAX_ENTRIES", 10)
    assert list_sources((tmp_path,)) == ()
