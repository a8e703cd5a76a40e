"""Where the daemon that ``up`` started listens, for the next ``up``."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NAME: Final = "up.json"
_MAX_BYTES: Final = 32 * 1024


@dataclass(frozen=True, slots=True)
class Running:
    """What one ``up`` tells the next.

    Attributes:
        address: ``HOST:PORT`` of the API; empty: not known.
        tls_dir: directory with the gateway's certificate; None: not known, or it has none.
    """

    address: str = ""
    tls_dir: Path | None = None


def note_running(state_dir: Path, running: Running) -> None:
    """Leave what is known of this process's daemon. Blocks.

    Where it cannot be written, the next ``up`` looks at the usual address.
    """
    path, fresh = state_dir / NAME, state_dir / f".{NAME}.{os.getpid()}"
    try:
        said = {"pid": os.getpid(), "address": running.address, "tls_dir": str(running.tls_dir or "")}
        fresh.write_text(json.dumps(said), encoding="utf-8")
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)


def read_running(state_dir: Path, pid: int | None) -> Running:
    """Return what a process left. Blocks.

    Nothing is known where it left none, or another one did.
    """
    try:
        with (state_dir / NAME).open("rb") as file:
            said = json.loads(file.read(_MAX_BYTES))
    except (OSError, ValueError):
        return Running()
    if not isinstance(said, dict) or said.get("pid") != pid or not isinstance(said.get("address"), str):
        return Running()
    tls_dir = said.get("tls_dir")
    return Running(str(said["address"]), Path(tls_dir) if isinstance(tls_dir, str) and tls_dir else None)
