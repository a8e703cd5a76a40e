"""What is found in a directory of records: leaders, and whatever else somebody has put there."""

from __future__ import annotations

import os
from pathlib import Path

from echoplaned.engines.inventory import take_inventory
from echoplaned.worker_contract.record import records_dir


def test_odd_files_hold_nobody_up(tmp_path: Path) -> None:
    """A daemon starts beside them; each of these kept it from starting, with a traceback or without a word."""
    directory = records_dir(tmp_path)
    directory.mkdir(parents=True)
    (directory / "folder.json").mkdir()
    (directory / "loop.json").symlink_to(directory / "loop.json")
    os.mkfifo(directory / "pipe.json")
    (directory / "deep.json").write_text("[" * 60_000)
    (directory / "bytes.json").write_bytes(b"\xff\xfe")
    found = take_inventory(tmp_path)
    assert (found.leaders, found.dead, found.foreign) == ((), (), ())
