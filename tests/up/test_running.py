"""The note that one `up` leaves for the next."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from echoplaned.up.running import NAME, Running, note_running, read_running


def test_what_is_noted_is_read_for_that_process_alone(tmp_path: Path) -> None:
    """Another process's note says nothing of this daemon."""
    note_running(tmp_path, Running("127.0.0.1:9", Path("/tls")))
    assert read_running(tmp_path, os.getpid()) == Running("127.0.0.1:9", Path("/tls"))
    assert read_running(tmp_path, os.getpid() + 1) == Running()
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"pid": 7}), json.dumps({"pid": 7, "address": 8})])
def test_a_note_that_makes_no_sense_is_none(tmp_path: Path, text: str) -> None:
    """Whoever wrote it."""
    assert read_running(tmp_path, 7) == Running()
    (tmp_path / NAME).write_text(text)
    assert read_running(tmp_path, 7) == Running()


def test_a_folder_that_cannot_be_written_is_no_end(tmp_path: Path) -> None:
    """The daemon serves all the same."""
    note_running(tmp_path / "gone", Running("127.0.0.1:9"))
    assert read_running(tmp_path / "gone", os.getpid()) == Running()
