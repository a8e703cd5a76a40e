"""Memory of an engine's processes: what they share with others, and what they would take alone."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from pathlib import Path

from echoplaned.supervisor.memory import FamilyUse, MemoryMeter, read_use

MIB = 1024 * 1024
SIZE = 32 * MIB
HOLDS = """
import mmap, sys
with open(sys.argv[1], "rb") as file:
    view = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
sum(view[::4096])
print("mapped", flush=True)
sys.stdin.read()
"""


def test_a_file_that_another_process_maps_counts_half_and_whole(tmp_path: Path) -> None:
    """What is used now is told by shares; what one that is alone would use is told beside it."""
    path = tmp_path / "weights"
    path.write_bytes(b"x" * SIZE)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view:
        assert sum(view[::4096])
        alone = read_use((os.getpid(),))
        other = subprocess.Popen(
            [sys.executable, "-c", HOLDS, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert other.stdout is not None
        assert other.stdout.readline() == b"mapped\n"
        shared = read_use((os.getpid(),))
        other.communicate()
    assert alone.file_bytes - shared.file_bytes > SIZE // 4
    assert abs(alone.mapped_bytes - shared.mapped_bytes) < SIZE // 8
    assert shared.whole_bytes >= shared.anon_bytes + SIZE


def test_peaks_of_the_load_and_of_serving_are_kept_apart() -> None:
    """Each belongs to the room that was ordered, which these engines make when they start."""
    meter = MemoryMeter(4, 256)
    meter.take(FamilyUse(anon_bytes=9 * MIB, file_bytes=MIB))
    meter.take(FamilyUse(anon_bytes=5 * MIB, file_bytes=MIB, mapped_bytes=2 * MIB))
    meter.started()
    meter.take(FamilyUse(anon_bytes=6 * MIB, file_bytes=MIB, mapped_bytes=2 * MIB))
    meter.take(FamilyUse(anon_bytes=4 * MIB, file_bytes=MIB, mapped_bytes=2 * MIB))
    told = meter.report()
    assert (told.rss_bytes, told.load_peak_rss_bytes, told.peak_rss_bytes) == (5 * MIB, 10 * MIB, 8 * MIB)
    usage = told.usage("build", "")
    assert usage is not None
    assert (usage.serving_peak_bytes, usage.sequences, usage.tokens) == (8 * MIB, 4, 256)
