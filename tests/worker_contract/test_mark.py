"""The id of a state directory: it stays where the directory is moved, and a copy draws its own."""

from __future__ import annotations

import shutil
from pathlib import Path

from echoplaned.worker_contract.mark import is_marked_by, make_mark, read_state_dir_id


def test_an_id_stays(tmp_path: Path) -> None:
    """Read again it is the same, also after the directory was moved; another directory has another."""
    first = read_state_dir_id(tmp_path / "a")
    assert read_state_dir_id(tmp_path / "a") == first
    (tmp_path / "a").rename(tmp_path / "b")
    assert read_state_dir_id(tmp_path / "b") == first
    assert read_state_dir_id(tmp_path / "a") != first
    assert is_marked_by(make_mark(first, "m/v1#0", 3), first)


def test_a_copy_draws_its_own(tmp_path: Path) -> None:
    """By the first one's mark it would find the processes of the first one's engines, and end them."""
    first = read_state_dir_id(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    second = read_state_dir_id(tmp_path / "b")
    assert second != first
    assert read_state_dir_id(tmp_path / "b") == second
    assert read_state_dir_id(tmp_path / "a") == first


def test_an_id_of_an_earlier_release_is_kept(tmp_path: Path) -> None:
    """It says nothing of where it was drawn: engines that run are marked by it. From then on a copy draws its own."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "state-dir-id").write_text("0123456789abcdef\n")
    assert read_state_dir_id(tmp_path / "a") == "0123456789abcdef"
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert read_state_dir_id(tmp_path / "b") != "0123456789abcdef"
