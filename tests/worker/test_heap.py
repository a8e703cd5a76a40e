"""Blocks that are made while a model loads go back to the system at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from echoplaned.engines.launcher import LaunchOptions, leader_environment

_SCRIPT = """
import ctypes
from contextlib import nullcontext
from pathlib import Path
from echoplaned.worker.heap import returning_heap

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]

def change(context):
    with context:
        blocks = [libc.malloc(5 << 20) for _ in range(64)]
    for block in blocks:
        ctypes.memset(block, 1, 5 << 20)
    before = held()
    for block in blocks[::2]:
        libc.free(block)
    return held() - before

def held():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

print(change(returning_heap()), change(nullcontext()))
"""


def test_freed_blocks_go_back(tmp_path: Path) -> None:
    """Every second block of 5 MiB is freed: in a returning heap the holes go, and afterwards they stay."""
    environment = leader_environment(LaunchOptions(state_dir=tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    returned, kept = (int(number) for number in done.stdout.split())
    assert kept > -(16 << 20)
    assert returned < -(150 << 20)
