"""Which checkpoints lie beneath the allowed roots, by a look at names alone.

Nothing is read of a file: whether a checkpoint can be loaded is known when it is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

MAX_SOURCES: Final = 1_000
MAX_DEPTH: Final = 3
_MAX_ENTRIES: Final = 20_000
_GGUF: Final = ".gguf"
_HUB: Final = "models--"


def list_sources(roots: Sequence[Path]) -> tuple[str, ...]:
    """Return the checkpoints beneath the roots, as paths relative to their root.

    Of a path that several roots have, the first counts.

    A checkpoint is a directory with a ``config.json``, one of a hub's cache, or a GGUF file. Links are not followed. Blocks.
    """
    found: dict[str, None] = {}
    left = _MAX_ENTRIES
    for root in roots:
        for path, count in _walk(Path(os.path.realpath(root)), MAX_DEPTH):
            left -= count
            if path is not None:
                found.setdefault(path.relative_to(os.path.realpath(root)).as_posix())
            if left < 0 or len(found) >= MAX_SOURCES:
                return tuple(found)
    return tuple(found)


def _walk(folder: Path, depth: int) -> Iterator[tuple[Path | None, int]]:
    """Yield each checkpoint in a folder and below, in order of name.

    A folder itself comes as None, with how many entries it has.
    """
    try:
        with os.scandir(folder) as entries:
            held = sorted(entries, key=lambda each: each.name)
    except OSError:
        return  # it has gone, or is not ours to read
    yield None, len(held)
    for entry in held:
        if entry.is_file(follow_symlinks=False):
            if entry.name.lower().endswith(_GGUF):
                yield Path(entry.path), 0
        elif entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
            path = Path(entry.path)
            if (path / "config.json").exists() or (entry.name.startswith(_HUB) and (path / "snapshots").is_dir()):
                yield path, 0
            elif depth > 1:
                yield from _walk(path, depth - 1)
