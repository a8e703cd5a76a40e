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
    """Resident bytes: all, anonymous, backed by files (mapped weights and libraries), and the peak since it was reset."""

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
    """Let the peak start again from what is resident now; left as it is where the kernel has no such file."""
    try:
        _CLEAR_REFS.write_text(_RESET_PEAK, encoding="ascii")
    except (FileNotFoundError, PermissionError):
        return


def release_free_memory() -> None:
    """Collect garbage and give the allocator's free pages back, so that what is resident is what is used."""
    gc.collect()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):  # glibc only
        libc.malloc_trim(0)
