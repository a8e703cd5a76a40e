"""One thread of another process, stopped for good: a model's step that never ends, while the rest of its process goes on."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path

_WALL = 0x40000000  # waitpid(2): threads too
_SEIZE, _INTERRUPT = 0x4206, 0x4207  # ptrace(2)


def busiest_thread(pid: int, work: Callable[[], None]) -> int:
    """Return the thread of a process, its main thread left out, that some work keeps busiest: of a worker, the one that computes."""
    before = _times(pid)
    work()
    after = _times(pid)
    return max((tid for tid in after if tid != pid), key=lambda tid: after[tid] - before.get(tid, 0))


def freeze(tid: int) -> None:
    """Stop one thread until its process is killed, or the calling thread ends.

    Raises:
        OSError: it may not be stopped.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    for request in (_SEIZE, _INTERRUPT):
        if libc.ptrace(request, tid, None, None) != 0:
            raise OSError(ctypes.get_errno(), f"thread {tid} may not be stopped")


def bury(tid: int) -> None:
    """Wait for the end of a frozen thread, which is being killed: until its tracer has seen it, its process stays a zombie."""
    while True:
        try:
            _, status = os.waitpid(tid, _WALL)
        except ChildProcessError:
            return
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            return


def _times(pid: int) -> dict[int, int]:
    """Return the CPU time of each thread, in nanoseconds."""
    found = {}
    for name in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - names are all that is wanted
        path = Path(f"/proc/{pid}/task/{name}/schedstat")
        found[int(name)] = int(path.read_text(encoding="ascii").split()[0])
    return found
