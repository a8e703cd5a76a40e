"""Evidence of rollouts, one file each in the state directory.

Each is written whole, synced, and renamed into place.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from threading import Lock

import structlog

FOLDER = "evidence"
_ENDING = ".npz"
_NEW = ".new"

log = structlog.get_logger(__name__)


class EvidenceFiles:
    """The port ``EvidenceStore`` on files of the daemon's own state directory."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / FOLDER
        self._writing = Lock()

    def save(self, rollout_id: str, content: bytes) -> None:
        """Write a rollout's evidence so that no crash of the machine loses it.

        That holds when it returns.

        Raises:
            OSError: it was not written; what was there before is there still.
        """
        with self._writing:
            self._save(rollout_id, content)

    def _save(self, rollout_id: str, content: bytes) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        path = self._path(rollout_id)
        new = path.with_suffix(_NEW)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        self._sync()

    def load(self, rollout_id: str) -> bytes | None:
        """Return a rollout's evidence; None where there is none.

        Raises:
            OSError: it cannot be read.
        """
        try:
            return self._path(rollout_id).read_bytes()
        except FileNotFoundError:
            return None

    def delete(self, rollout_id: str) -> None:
        """Remove a rollout's evidence, if there is any.

        Raises:
            OSError: it cannot be removed.
        """
        self._path(rollout_id).unlink(missing_ok=True)

    def keep_only(self, rollout_ids: Collection[str]) -> None:
        """Remove the evidence of all rollouts but these.

        It is what a daemon left that was killed before it could delete it; what cannot be removed is left to the next start.
        """
        try:
            for path in tuple(self._folder.iterdir()) if self._folder.is_dir() else ():
                if path.suffix in {_ENDING, _NEW} and path.stem not in rollout_ids:
                    path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("evidence.not_deleted", detail=str(error))

    def _path(self, rollout_id: str) -> Path:
        # Ids are drawn by the daemon from 32 letters and digits; another one must not lead out of the folder.
        if not rollout_id.replace("-", "").isalnum():
            raise OSError(f"{rollout_id!r:.80} is no id of a rollout")
        return self._folder / f"{rollout_id}{_ENDING}"

    def _sync(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
