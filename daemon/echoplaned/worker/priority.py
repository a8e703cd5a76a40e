"""Getting warm without disturbing whoever is serving."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_BACKGROUND_NICE: Final = 15
_AUTOGROUP: Final = Path("/proc/self/autogroup")  # sched(7): with autogrouping, niceness counts only within a session


@contextlib.contextmanager
def background() -> Iterator[None]:
    """Lower the priority of the calling thread, and of its session meanwhile.

    The thread keeps the lower priority for good; the session has it while the block runs.

    A thread that was made nicer needs a privilege to come back; run this in a thread that ends afterwards. Threads that
    are started elsewhere keep their priority.
    """
    thread = threading.get_native_id()
    # A daemon that was started with a still lower priority has passed it on, and to raise it is a privilege.
    if os.getpriority(os.PRIO_PROCESS, thread) < _BACKGROUND_NICE:
        os.setpriority(os.PRIO_PROCESS, thread, _BACKGROUND_NICE)
    _set_autogroup(_BACKGROUND_NICE)
    try:
        yield
    finally:
        _set_autogroup(0)


def _set_autogroup(nice: int) -> None:
    """Set the session's niceness where the kernel groups by session.

    A refusal is ignored: nothing but the courtesy to other processes depends on it.
    """
    with contextlib.suppress(OSError):
        _AUTOGROUP.write_text(str(nice), encoding="ascii")
