"""Shared memory that a killed engine leaves is removed, and nobody else's is."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from echoplaned.worker_contract.family import Family, end_family
from echoplaned.worker_contract.record import read_start_ticks
from echoplaned.worker_contract.segments import Segment, find_segments, remove_segments

SIZE = 4096
_MAPS = """
import mmap, sys
for path in sys.argv[1:]:
    with open(path, "r+b") as file:
        view = mmap.mmap(file.fileno(), 0)
    globals()[path] = view
print("up", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def paths() -> Iterator[tuple[Path, Path]]:
    """Two segments; what is left of them is removed."""
    made = tuple(Path("/dev/shm") / f"ep_test_{uuid.uuid4().hex[:12]}" for _ in range(2))
    for path in made:
        path.write_bytes(bytes(SIZE))
    yield made[0], made[1]
    for path in made:
        path.unlink(missing_ok=True)


def start(*paths: Path) -> subprocess.Popen[str]:
    """Start a process that maps segments, in a session of its own, and that nobody cleans up after."""
    command = [sys.executable, "-S", "-c", _MAPS, *map(str, paths)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


def test_what_a_killed_family_shared_is_removed_but_not_what_others_map(paths: tuple[Path, Path]) -> None:
    """Both are mapped by the family, one of them by this process as well."""
    its_own, ours_too = paths
    process = start(its_own, ours_too)
    with ours_too.open("r+b") as file, mmap.mmap(file.fileno(), 0), process:
        assert {one.path for one in find_segments(process.pid)} == {str(path) for path in paths}
        assert end_family(Family(process.pid, read_start_ticks(process.pid) or 0), 10.0)
        assert process.wait() == -signal.SIGKILL
        assert not its_own.exists()
        assert ours_too.exists()


def test_another_segment_of_the_same_name_stays(paths: tuple[Path, Path]) -> None:
    """A name may be used again as soon as it is free: it is the very file that counts."""
    path, _ = paths
    later = Segment(str(path), path.stat().st_ino + 1)
    remove_segments([later], [])
    assert path.exists()
    remove_segments([Segment(str(path), path.stat().st_ino)], [os.getpid()])
    assert not path.exists()
    assert find_segments(2**22 + 1) == frozenset()
