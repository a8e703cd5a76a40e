"""The mark that every process of an engine carries in its environment.

By it none of them is ever lost: a child inherits it whatever session it makes for itself. Standard library only, as the record is.
"""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path
from typing import Final

VARIABLE: Final = "ECHOPLANE_INSTANCE"
"""Holds ``STATE-DIR-ID/INSTANCE/GENERATION``; a leader that was started before it had an instance has its own id and 0 there."""

_FILE: Final = "state-dir-id"
_ID: Final = re.compile(r"[0-9a-f]{16}")


def make_mark(state_dir_id: str, subject: str, generation: int) -> str:
    """Return the mark of an instance's generation, or of a leader on standby."""
    return f"{state_dir_id}/{subject}/{generation}"


def is_marked_by(mark: str, state_dir_id: str) -> bool:
    """Whether a mark was set by the daemon of a state directory."""
    return mark.startswith(f"{state_dir_id}/")


def read_state_dir_id(records_dir: Path) -> str:
    """Return the id of a state directory, drawn at its first use.

    Two directories at one path, one after the other, have two ids.
    """
    path = records_dir / _FILE
    try:
        text = path.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        text = ""
    if _ID.fullmatch(text):
        return text
    records_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f"{_FILE}.{os.getpid()}.tmp")
    text = secrets.token_hex(8)
    temporary.write_text(text + "\n", encoding="ascii")
    temporary.replace(path)
    return text
