"""The mark that every process of an engine carries in its environment.

By it none of them is ever lost: a child inherits it whatever session it makes for itself. Standard library only, as the record is.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from pathlib import Path
from typing import Final

VARIABLE: Final = "ECHOPLANE_INSTANCE"
"""Holds ``STATE-DIR-ID/INSTANCE/GENERATION``; a leader that was started before it had an instance has its own id and 0 there."""

_FILE: Final = "state-dir-id"
_PLACE: Final = "state-dir-place"
_ID: Final = re.compile(r"[0-9a-f]{16}")


def make_mark(state_dir_id: str, subject: str, generation: int) -> str:
    """Return the mark of an instance's generation, or of a leader on standby."""
    return f"{state_dir_id}/{subject}/{generation}"


def is_marked_by(mark: str, state_dir_id: str) -> bool:
    """Whether a mark was set by the daemon of a state directory."""
    return mark.startswith(f"{state_dir_id}/")


def read_state_dir_id(records_dir: Path) -> str:
    """Return the id of a state directory, drawn at its first use.

    Two directories at one path, one after the other, have two ids. So have a directory and its copy: a daemon of the copy would find
    the processes of the other's by its mark, and end them.

    Raises:
        OSError: one had to be drawn, and the disk takes none.
    """
    text = _read(records_dir / _FILE)
    if not _ID.fullmatch(text):
        return _draw(records_dir)
    place = _read(records_dir / _PLACE)
    if not place:
        # Earlier releases did not say where it was drawn: it is taken to be here.
        with contextlib.suppress(OSError):
            _write(records_dir / _PLACE, _place_of(records_dir))
    elif place != _place_of(records_dir):
        return _draw(records_dir)
    return text


def _draw(records_dir: Path) -> str:
    records_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    text = secrets.token_hex(8)
    # First the place: an id without one is taken for an earlier release's, and a copy would keep it.
    (records_dir / _FILE).unlink(missing_ok=True)
    _write(records_dir / _PLACE, _place_of(records_dir))
    _write(records_dir / _FILE, text)
    return text


def _place_of(records_dir: Path) -> str:
    """Return what a directory keeps where it is moved, and a copy has not."""
    found = records_dir.stat()
    return f"{found.st_dev}:{found.st_ino}"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        return ""


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text + "\n", encoding="ascii")
    temporary.replace(path)
