"""Where the daemon that ``up`` started listens, for the next ``up``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

NAME: Final = "up.json"
_MAX_BYTES: Final = 4096


def note_running(state_dir: Path, address: str) -> None:
    """Leave the address of this process's daemon. Blocks.

    Where it cannot be written, the next ``up`` looks at the usual address.
    """
    path, fresh = state_dir / NAME, state_dir / f".{NAME}.{os.getpid()}"
    try:
        fresh.write_text(json.dumps({"pid": os.getpid(), "address": address}), encoding="utf-8")
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)


def read_running(state_dir: Path, pid: int | None) -> str:
    """Return the address that a process left; empty: it left none, or another one did."""
    try:
        with (state_dir / NAME).open("rb") as file:
            said = json.loads(file.read(_MAX_BYTES))
    except (OSError, ValueError):
        return ""
    if not isinstance(said, dict) or said.get("pid") != pid or not isinstance(said.get("address"), str):
        return ""
    return str(said["address"])
