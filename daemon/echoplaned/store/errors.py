"""What the store raises beside ``StoreUnavailableError``.

All of it is one, so a caller needs to know that one only.
"""

from __future__ import annotations

from pathlib import Path

from echoplaned.core.errors import DaemonError, StoreUnavailableError
from echoplaned.core.failure import FailureDetail


class StoreCorruptError(StoreUnavailableError):
    """What the store holds is not what this daemon writes: trying again will not help."""

    def __init__(self, detail: str) -> None:
        message = f"the store cannot be read: {detail}"
        DaemonError.__init__(self, message, FailureDetail(self.reason, message))


class StateDirError(StoreUnavailableError):
    """The state directory cannot be used.

    Seen at the start only, by whoever started the daemon; so it names the path.
    """

    def __init__(self, path: Path, detail: str) -> None:
        message = f"state directory {str(path)!r} cannot be used: {detail}"
        DaemonError.__init__(self, message, FailureDetail(self.reason, message))


class StateDirLockedError(StateDirError):
    """Another daemon has the state directory.

    Attributes:
        pid: its process id; None if it could not be read.
    """

    def __init__(self, path: Path, pid: int | None) -> None:
        holder = "another process" if pid is None else f"process {pid}"
        super().__init__(path, f"{holder} has it locked: stop that daemon, or give this one a --state-dir of its own")
        self.pid = pid


class FilesReplacedError(StoreUnavailableError):
    """A file that the daemon has open does not bear its name any more.

    Whatever were written to it would be lost.

    Attributes:
        name: which one, without its path: callers see it.
    """

    def __init__(self, name: str) -> None:
        message = (
            f"the store cannot be written: {name} was removed or replaced while the daemon ran; nothing was changed. "
            "Put it back, or stop the daemon, look after the state directory, and start it again"
        )
        DaemonError.__init__(self, message, FailureDetail(self.reason, message))
        self.name = name
