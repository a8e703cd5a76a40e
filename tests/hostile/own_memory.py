"""What a process can leak: resident memory that is of no file.

Pages of files (code, a checkpoint that is mapped) are resident as the kernel pleases; they come and go by many MB while nothing happens.
"""

from __future__ import annotations

from pathlib import Path


def own_bytes(pid: int) -> int:
    """Return a process's resident bytes that are of no file."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return 1024 * int(next(line for line in status.splitlines() if line.startswith("RssAnon:")).split()[1])
