"""How unloaded models were loaded, one file each in the state directory.

Each is written whole, synced, and renamed into place.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Final

from echoplaned.core.names import MODEL_ID

FOLDER: Final = "unloaded"
MAX_KEPT: Final = 1_000
"""Models; of more, those that were unloaded first are forgotten."""

_ENDING: Final = ".binpb"
_NEW: Final = ".new"
_ID: Final = re.compile(MODEL_ID)


class UnloadedFiles:
    """The port ``UnloadedModels`` on files of the daemon's own state directory."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / FOLDER
        self._writing = Lock()

    def keep(self, model_id: str, content: bytes) -> None:
        """Write how a model was loaded, so that no crash of the machine loses it.

        Raises:
            OSError: it was not written; what was there before is there still.
        """
        if not _ID.fullmatch(model_id):
            raise OSError(f"{model_id!r:.80} is no id of a model")
        with self._writing:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            new = self._folder / f"{model_id}{_NEW}"
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._folder / f"{model_id}{_ENDING}")
            oldest_first = sorted(self._kept(), key=lambda path: path.stat().st_mtime_ns)
            for path in oldest_first[:-MAX_KEPT]:
                path.unlink(missing_ok=True)
            self._sync()

    def read(self) -> Mapping[str, bytes]:
        """Return what is kept, by model id.

        Raises:
            OSError: it cannot be read.
        """
        with self._writing:
            return {path.stem: path.read_bytes() for path in sorted(self._kept())}

    def _kept(self) -> list[Path]:
        found = self._folder.iterdir() if self._folder.is_dir() else ()
        return [path for path in found if path.suffix == _ENDING and _ID.fullmatch(path.stem)]

    def _sync(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
