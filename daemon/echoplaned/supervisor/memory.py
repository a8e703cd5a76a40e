"""Measures the memory of an engine's processes together.

By proportional shares, so that a page that several map is counted once.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from echoplaned import process_files
from echoplaned.core.numbers import read_whole
from echoplaned.worker_contract.report import Memory

_KIB: Final = 1024
_TICK_S: Final = 1.0 / os.sysconf("SC_CLK_TCK")
_MAPPED: Final = "RssFile:"
_USER_TICKS: Final = 11  # proc(5): utime of /proc/PID/stat, behind the command's name; the system's are next


@dataclass(frozen=True, slots=True)
class FamilyUse:
    """What an engine's processes use now, added up.

    Attributes:
        anon_bytes: memory of their own, shared memory and ``/dev/shm`` included, bytes.
        file_bytes: memory backed by files, bytes.
        mapped_bytes: resident pages of files of the process that maps the most, each counted whole, bytes.
        cpu_s: processor time so far, user and system, seconds.
    """

    anon_bytes: int = 0
    file_bytes: int = 0
    mapped_bytes: int = 0
    cpu_s: float = 0.0

    @property
    def whole_bytes(self) -> int:
        """What they would use with nobody to share files with.

        A plan is for one that is alone.
        """
        return self.anon_bytes + max(self.file_bytes, self.mapped_bytes)


def read_use(pids: tuple[int, ...]) -> FamilyUse:
    """Read what processes use; those that have ended meanwhile use nothing. Blocking."""
    anon = file = mapped = 0
    cpu_s = 0.0
    for pid in pids:
        try:
            rollup = process_files.read_text(pid, "smaps_rollup")
            stat = process_files.read_text(pid, "stat")
            status = process_files.read_text(pid, "status")
        except OSError:
            continue
        shares = dict(line.split(":", 1) for line in rollup.splitlines()[1:] if line.startswith("Pss"))
        anon += sum(_bytes(shares.get(name, "")) for name in ("Pss_Anon", "Pss_Shmem"))
        file += _bytes(shares.get("Pss_File", ""))
        whole = next((line for line in status.splitlines() if line.startswith(_MAPPED)), "")
        mapped = max(mapped, _bytes(whole.removeprefix(_MAPPED)))
        fields = stat.rpartition(")")[2].split()
        cpu_s += _TICK_S * (int(fields[_USER_TICKS]) + int(fields[_USER_TICKS + 1]))
    return FamilyUse(anon, file, mapped, cpu_s)


def _bytes(text: str) -> int:
    """Read ``  12 kB``."""
    return _KIB * (read_whole(text.strip().partition(" ")[0]) or 0)


class MemoryMeter:
    """Keeps the peaks of an engine's measured memory.

    One of the load, until the engine serves, and one of serving since then.

    Args:
        sequences: that it makes room for when it starts, all of them at once.
        tokens: of each of them.
    """

    def __init__(self, sequences: int = 0, tokens: int = 0) -> None:
        self._sequences = sequences
        self._tokens = tokens
        self._use = FamilyUse()
        self._peak = 0
        self._load_peak = 0

    @property
    def cpu_s(self) -> float:
        """Processor time of the family when it was read last."""
        return self._use.cpu_s

    def take(self, use: FamilyUse) -> None:
        """Take a reading."""
        self._use = use
        self._peak = max(self._peak, use.whole_bytes)

    def started(self) -> None:
        """The engine serves from now on."""
        self._load_peak, self._peak = self._peak, self._use.whole_bytes

    def report(self) -> Memory:
        """Return the measured memory in the form of a report.

        There is no standby to subtract, and nothing is known of batches: these engines make room for all that they were ordered when
        they start, so that is what their peaks belong to.
        """
        return Memory(
            rss_bytes=self._use.anon_bytes + self._use.file_bytes,
            rss_anon_bytes=self._use.anon_bytes,
            rss_file_bytes=self._use.file_bytes,
            peak_rss_bytes=self._peak,
            load_peak_rss_bytes=self._load_peak,
            exercised_sequences=self._sequences,
            exercised_tokens=self._tokens,
        )
