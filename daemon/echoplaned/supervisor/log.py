"""Keeps the engine's output within bounds and reads it during a start.

It says how far a start is and why it failed.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections import deque
from pathlib import Path
from typing import Final

from echoplaned.core.text import escape
from echoplaned.engine_kinds.foreign import FinalCause, ForeignEngine

MAX_LOG_BYTES: Final = 8 * 1024 * 1024
"""Of one file; the one before it is kept as well."""

_READ_BYTES: Final = 64 * 1024
_MAX_LINE: Final = 2000
_LINES_RETAINED: Final = 20


class EngineLog:
    """Takes what an engine writes from a pipe and writes it to a bounded log.

    So no engine can fill the disk: it never opens the file itself. Where the disk is full already its lines are lost, but not the engine:
    what they mean is read all the same.

    Args:
        path: where it is written, 0600; what is there already is kept.
        engine: what its lines mean.
    """

    def __init__(self, path: Path, engine: ForeignEngine) -> None:
        self._path = path
        self._steps = [(re.compile(one.pattern), one.step) for one in engine.steps]
        self._causes = [(re.compile(one.pattern), one) for one in engine.causes]
        self._cause_line = re.compile(engine.cause_line)
        self._file = _open(path)
        self._size = os.fstat(self._file).st_size
        self._rest = b""
        self._last: deque[str] = deque(maxlen=_LINES_RETAINED)
        self.is_starting = True
        self.step = ""
        self.steps_seen = 0
        self.total_bytes = 0
        self.cause: FinalCause | None = None
        self.cause_text = ""
        self._error_line = ""

    def read(self, pipe: int) -> bool:
        """Take what is in the pipe now, a bounded part of it; False at its end."""
        try:
            data = os.read(pipe, _READ_BYTES)
        except BlockingIOError:
            return True
        if data:
            self.take(data)
        return bool(data)

    def take(self, data: bytes) -> None:
        """Write output, and look at its lines while the engine starts."""
        self.total_bytes += len(data)
        self._write(data)
        if not self.is_starting:
            self._rest = data[-_MAX_LINE:]
            return
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[-_MAX_LINE:]
        for line in lines:
            self._look(line[:_MAX_LINE].decode("utf-8", errors="replace").rstrip())

    def started(self) -> None:
        """The engine serves: its lines mean nothing any more."""
        self.is_starting = False

    def why(self) -> str:
        """Return the line that says best why the engine ended; empty: it wrote none."""
        self._look(self._rest.decode("utf-8", errors="replace").rstrip())
        if not self.is_starting:
            tail = self._rest.decode("utf-8", errors="replace").splitlines()
            self._last.extend(line for line in tail if line.strip())
        return escape(self.cause_text or self._error_line or (self._last[-1] if self._last else ""))

    def note(self, text: str) -> None:
        """Add a line of the supervisor's own."""
        self._write(f"supervisor: {text}\n".encode(errors="backslashreplace"))

    def _look(self, line: str) -> None:
        if not line:
            return
        self._last.append(line)
        for pattern, step in self._steps:
            if pattern.search(line):
                self.step = step
                self.steps_seen += 1
        if self._cause_line.search(line):
            self._error_line = line
        for pattern, cause in self._causes:
            if self.cause is None and pattern.search(line):
                self.cause, self.cause_text = cause, line

    def _write(self, data: bytes) -> None:
        """Write what the disk takes; the rest is lost."""
        if self._size + len(data) > MAX_LOG_BYTES and not self._rotate():
            return
        with contextlib.suppress(OSError):
            self._size += os.write(self._file, data)

    def _rotate(self) -> bool:
        """Begin a new log file and keep the old one under another name.

        That name ends as every log's does, so that it is pruned with them. Returns whether there is a new one: until then nothing is
        written, as the old one has no room left.
        """
        try:
            with contextlib.suppress(FileNotFoundError):  # renamed by an attempt that could not open the new one
                self._path.replace(self._path.with_name(f"{self._path.stem}.1.log"))
            fresh = _open(self._path)
        except OSError:
            return False
        old, self._file, self._size = self._file, fresh, 0
        with contextlib.suppress(OSError):  # what was not on the disk yet is told of here, by some file systems
            os.close(old)
            # What the supervisor itself writes goes where the engine's lines go.
            for stream in (1, 2):
                os.dup2(self._file, stream)
        return True


def _open(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
