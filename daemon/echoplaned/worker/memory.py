"""The process's own memory, as the kernel counts it."""

from __future__ import annotations

import ctypes
import gc
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_STATUS: Final = Path("/proc/self/status")
_CLEAR_REFS: Final = Path("/proc/self/clear_refs")
_RESET_PEAK: Final = "5"  # proc(5): writing 5 sets VmHWM to the current resident size
_KIB: Final = 1024


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Resident memory of this process, by kind.

    Attributes:
        rss_bytes: all resident bytes.
        anon_bytes: anonymous bytes.
        file_bytes: bytes backed by files: mapped weights and libraries.
        peak_bytes: peak of the resident bytes since it was reset.
    """

    rss_bytes: int
    anon_bytes: int
    file_bytes: int
    peak_bytes: int


def read_memory() -> MemoryUse:
    """Return the current use."""
    values: dict[str, int] = {}
    for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
        name, _, rest = line.partition(":")
        if name in {"VmRSS", "RssAnon", "RssFile", "VmHWM"}:
            values[name] = int(rest.split()[0]) * _KIB
    return MemoryUse(values["VmRSS"], values["RssAnon"], values["RssFile"], values["VmHWM"])


def reset_peak() -> None:
    """Let the recorded peak of memory start again from what is resident now.

    It is left as it is where the kernel has no such file, or does not let us write it.
    """
    try:
        _CLEAR_REFS.write_text(_RESET_PEAK, encoding="ascii")
    except (FileNotFoundError, PermissionError):
        return


def release_free_memory() -> None:
    """Collect garbage and return the allocator's free pages to the system.

    Afterwards what is resident is what is used.
    """
    gc.collect()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):  # glibc only
        libc.malloc_trim(0)
