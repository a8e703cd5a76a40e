"""Sets the C library's heap to return freed blocks at once during a load.

So a cast or a quantisation leaves no holes.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from echoplaned.engine_kinds.heap import MMAP_THRESHOLD, TRIM_THRESHOLD

# Parameters of mallopt(3), from malloc.h, and the variables that set them for a whole process.
_PARAMETERS: Final = {TRIM_THRESHOLD: -1, MMAP_THRESHOLD: -3}
_BLOCK_BYTES: Final = 64 * 1024


@contextmanager
def returning_heap() -> Iterator[None]:
    """Give freed memory back to the system at once, until the block ends.

    Blocks of 64 KiB or more get mappings of their own, and what is freed is handed back.

    Weights that are made here stay in such mappings. Nothing is changed where the environment does not set the heap, since what it was
    could not be set again, or where the C library is not glibc.
    """
    libc = ctypes.CDLL(None)
    before = {number: int(os.environ.get(name, "0")) for name, number in _PARAMETERS.items()}
    if not all(before.values()) or not hasattr(libc, "mallopt"):
        yield
        return
    for number in before:
        libc.mallopt(number, _BLOCK_BYTES)
    try:
        yield
    finally:
        for number, value in before.items():
            libc.mallopt(number, value)
