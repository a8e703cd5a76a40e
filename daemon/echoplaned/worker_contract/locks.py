"""A lock on a file that a process holds for its lifetime.

The lock belongs to the open file, which what is executed inherits: while it is held the process lives, whatever else is true.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

_ASKING = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
"""Reading is enough for a shared lock, and the disk may be read-only; nothing is waited for, and no link is followed."""


def is_locked(path: Path) -> bool:
    """Say whether a process holds the lock of a file.

    A file that cannot be opened has none.
    """
    try:
        descriptor = os.open(path, _ASKING)
    except OSError:
        return False
    try:
        # Shared, so that two that look at once do not take each other for the holder.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
