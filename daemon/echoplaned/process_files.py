"""Files that the kernel keeps about each process (proc(5)).

Not by way of pathlib: that keeps every part of a path in Python's table of interned strings, and with numbers of processes, new ones for
ever, the table is rebuilt at twice its size (2 MiB in a daemon) once it is full of those that have gone.
"""

from __future__ import annotations

import os
from typing import Final

_ENDED: Final = ("Z", "X")  # states of a process that is a zombie, or dead


def process_ids() -> list[int]:
    """Return the processes that this one can see."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - see above


def thread_ids(pid: int) -> list[int]:
    """Return the threads of a process.

    Raises:
        OSError: it has gone.
    """
    return [int(name) for name in os.listdir(f"/proc/{pid}/task")]  # noqa: PTH208 - see above


def owner(pid: int) -> int | None:
    """Return the user whose process it is; None: it has gone."""
    try:
        return os.stat(f"/proc/{pid}").st_uid  # noqa: PTH116 - see above
    except OSError:
        return None


def read_bytes(pid: int, name: str) -> bytes:
    """Return a file of a process, ``status``, say.

    Raises:
        OSError: it has gone, or is not ours to look at.
    """
    with open(f"/proc/{pid}/{name}", "rb") as file:  # noqa: PTH123 - see above
        return file.read()


def read_text(pid: int, name: str) -> str:
    """Return a file of a process as text; what is no UTF-8 is replaced.

    Raises:
        OSError: it has gone, or is not ours to look at.
    """
    return read_bytes(pid, name).decode("utf-8", errors="replace")


def write_text(pid: int, name: str, text: str) -> None:
    """Write a text into a file of a process.

    Raises:
        OSError: it has gone, or is not ours to change.
    """
    with open(f"/proc/{pid}/{name}", "w", encoding="utf-8") as file:  # noqa: PTH123 - see above
        file.write(text)


def read_stat(pid: int) -> list[str]:
    """Return the fields of a live process's ``stat``; empty for a zombie.

    From its state, the third, on: those before are its number and the name of its command, which may hold blanks and brackets.

    Raises:
        OSError: it has gone.
    """
    fields = read_text(pid, "stat").rpartition(")")[2].split()
    return [] if fields[0] in _ENDED else fields
