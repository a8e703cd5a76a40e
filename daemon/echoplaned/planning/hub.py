"""Directories as a hub's cache lays them out.

A directory `models--ORG--NAME` has revisions beneath `snapshots` and names for them in `refs`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from echoplaned.core.errors import SourceIncompleteError

_SNAPSHOTS: Final = "snapshots"
_REF: Final = Path("refs", "main")
_MAX_REF_BYTES: Final = 256
# A commit's digest, or whatever else names a directory and no path.
_REVISION: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,127}")


def resolve_hub(directory: Path) -> Path:
    """Return the revision that ``refs/main`` of a hub's directory names.

    Any other path is returned as it is.

    Raises:
        SourceIncompleteError: the directory names no revision, or one that is not there.
    """
    if not (directory / _SNAPSHOTS).is_dir() or (directory / "config.json").exists():
        return directory
    revision = _main(directory / _REF)
    if revision and (directory / _SNAPSHOTS / revision).is_dir():
        return directory / _SNAPSHOTS / revision
    found = sorted(entry.name for entry in (directory / _SNAPSHOTS).iterdir() if entry.is_dir())
    what = f"{_REF} names {revision}, which is not in {_SNAPSHOTS}" if revision else f"{_REF} names no revision"
    where = (
        f"there are {', '.join(f'{_SNAPSHOTS}/{name}' for name in found[:5])}" if found else f"{_SNAPSHOTS} is empty"
    )
    raise SourceIncompleteError(
        f"{directory.name}: {what}; {where}", subject="source_uri", accepted=f"a directory beneath {_SNAPSHOTS}"
    )


def _main(path: Path) -> str:
    """Return the revision that a ref names; empty where it names none."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        text = file.read(_MAX_REF_BYTES).decode("utf-8", "replace").strip()
    return text if _REVISION.fullmatch(text) else ""
