"""Models on disk: GGUF files and checkpoints, and the root that each lies beneath."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import typer

from echoplane.cli.hub_name import propose_id

GGUF: Final = "gguf"
SAFETENSORS: Final = "safetensors"

_MAX_DEPTH: Final = 3
_MAX_ENTRIES: Final = 10_000
# Of a file in parts the first names the whole; what llama.cpp calls mmproj is the eye of another model.
_LATER_PART: Final = re.compile(r"-(?!0*1-of-)\d+-of-\d+$")
_EYE: Final = re.compile(r"(?i)^mmproj|\bmmproj\b")


@dataclass(frozen=True, slots=True)
class FoundModel:
    """One model on disk.

    Attributes:
        path: its GGUF file, or its checkpoint's directory; absolute, links kept.
        format: ``gguf`` or ``safetensors``.
    """

    path: Path
    format: str

    @property
    def model_id(self) -> str:
        """The id that ``echoplane load`` proposes for it; empty: its name makes none."""
        name = self.path.name
        if self.path.parent.name == "snapshots":  # a hub's cache: models--ORG--NAME/snapshots/REVISION
            name = self.path.parents[1].name.rpartition("--")[2]
        try:
            return propose_id(name)
        except typer.BadParameter:
            return ""

    @property
    def root(self) -> Path:
        """The narrowest directory that holds all of it once links are followed."""
        home = self.path.parent if self.format == GGUF else self.path
        held = [self.path] if self.format == GGUF else list(self.path.iterdir())
        # realpath(): to resolve() links in a circle are an error, and one beside a model does no harm.
        folders = [os.path.realpath(home), *(str(Path(os.path.realpath(entry)).parent) for entry in held)]
        return Path(os.path.commonpath(folders))


def find_models(place: Path) -> list[FoundModel]:
    """Return the models at a path: it is one, or a directory that holds some. Blocks.

    Directories are looked into for three levels; an unreadable one holds nothing.
    """
    place = Path(os.path.abspath(place))  # noqa: PTH100 - not resolve(): what a link is called decides its format
    if _is_file(place):
        return [FoundModel(place, GGUF)] if _is_gguf(place) else []
    found: list[FoundModel] = []
    waiting, seen = [(place, 0)], 0
    while waiting and seen < _MAX_ENTRIES:
        folder, depth = waiting.pop(0)
        try:
            entries = sorted(folder.iterdir())
        except OSError:
            continue
        seen += len(entries)
        if _is_file(folder / "config.json") and any(entry.suffix == ".safetensors" for entry in entries):
            found.append(FoundModel(folder, SAFETENSORS))
            continue
        found += [FoundModel(entry, GGUF) for entry in entries if _is_gguf(entry)]
        if depth < _MAX_DEPTH:
            waiting += [(entry, depth + 1) for entry in entries if not entry.name.startswith(".") and _is_dir(entry)]
    return found


def look_problem(path: Path) -> str:
    """Say why a path cannot be looked at; empty if it can. Blocks."""
    try:
        if stat.S_ISDIR(path.stat().st_mode):
            with os.scandir(path):
                pass
    except (FileNotFoundError, NotADirectoryError):
        return "does not exist"
    except OSError as error:
        return f"cannot be looked at: {error.strerror}"
    return ""


# pathlib's own raise where a folder above may not be searched or a name is too long; os.path's say no.
def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113 - as above


def _is_dir(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 - as above


def _is_gguf(path: Path) -> bool:
    is_whole = not _LATER_PART.search(path.stem) and not _EYE.search(path.stem)
    return path.suffix.lower() == ".gguf" and is_whole and _is_file(path)
