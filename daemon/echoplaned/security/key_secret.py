"""The file with the secret that keys are derived from.

It is not in the store, so a copy of the store lets nobody in; and who loses it has revoked every key.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path
from typing import Final

from echoplaned.core.errors import KeySecretUnusableError

MIN_BYTES: Final = 32
_MAX_BYTES: Final = 4096
_OTHERS: Final = 0o077
_ADVICE: Final = "put back the file that the keys were made with; or remove it, and every key with it is revoked"


class KeySecretFile:
    """The secret's file, which is its owner's alone.

    Attributes:
        path: where it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> bytes | None:
        """Return the secret; None: there is no file.

        Raises:
            KeySecretUnusableError: others can read it, it is too short, or it cannot be read.
        """
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(error.strerror or type(error).__name__, "let the daemon's user read it") from error
        try:
            # Of the file that was opened, not of what may have this name by now.
            self._check(os.fstat(descriptor))
            found = os.read(descriptor, _MAX_BYTES + 1).strip()
        finally:
            os.close(descriptor)
        if len(found) > _MAX_BYTES:
            raise self._unusable(f"has more than {_MAX_BYTES} bytes", _ADVICE)
        if len(found) < MIN_BYTES:
            raise self._unusable(f"has {len(found)} bytes, and {MIN_BYTES} are needed", _ADVICE)
        return found

    def read_or_create(self) -> bytes:
        """Return the secret, drawn now where there is no file.

        Raises:
            KeySecretUnusableError: as for ``read``, or none could be written.
        """
        found = self.read()
        if found is not None:
            return found
        try:
            self._create()
        except OSError as error:
            raise self._unusable(error.strerror or type(error).__name__, "name a place that can be written") from error
        # What lies there: another daemon of the same store may have been first.
        created = self.read()
        if created is None:
            raise self._unusable("has gone again", "let nothing else remove it")
        return created

    def _create(self) -> None:
        """Write a new secret whole under another name, and link it.

        So nobody ever reads half of one.
        """
        draft = self.path.with_name(f"{self.path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(f"{secrets.token_hex(MIN_BYTES)}\n")
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(draft, self.path)
        finally:
            draft.unlink(missing_ok=True)
        directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _check(self, found: os.stat_result) -> None:
        if not stat.S_ISREG(found.st_mode):
            raise self._unusable("is no file", "name a file")
        if stat.S_IMODE(found.st_mode) & _OTHERS:
            raise self._unusable("can be read by others", f"chmod 600 {self.path}")
        if found.st_uid != os.geteuid():
            raise self._unusable("belongs to another user", "give it to the daemon's user")

    def _unusable(self, problem: str, advice: str) -> KeySecretUnusableError:
        return KeySecretUnusableError(f"the secret of the keys, {self.path}, {problem}: {advice}")
