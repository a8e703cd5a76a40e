"""A JSON file of the state directory that is written whole.

It is renamed into place: a crash loses what came since and nothing else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import structlog

MAX_BYTES: Final = 64 * 1024 * 1024

log = structlog.get_logger(__name__)
T = TypeVar("T")


class JsonFile:
    """One file, for this user alone.

    Args:
        path: where it is.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self, parse: Callable[[Any], T]) -> T | None:
        """Return what the file holds; None where there is none, or none that can be read.

        A file that cannot be read is put aside: what it holds never keeps a daemon from starting.
        """
        try:
            with self._path.open("rb") as file:
                return parse(json.loads(file.read(MAX_BYTES)))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            log.warning("file.not_read", file=str(self._path), problem=f"{type(error).__name__}: {error}")
            try:
                self._path.replace(self._path.with_suffix(".bad"))
            except OSError:
                log.warning("file.not_put_aside", file=str(self._path))
            return None

    def save(self, content: Any) -> None:  # noqa: ANN401 - what JSON holds
        """Write it.

        Raises:
            OSError: it was not written; what was there before is there still.
        """
        new = self._path.with_suffix(".new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(descriptor)
        new.replace(self._path)
