"""Takes memory that nobody has used before, as a load does for its weights, and says how many seconds that took.

PYTHON .../benchmarks/peers/new_memory.py BYTES: what a machine asks for memory alone. A virtual machine may have given its free memory
back to its host (free page reporting), and then each page of it is dear to take again.
"""

from __future__ import annotations

import mmap
import sys
import time
from contextlib import suppress
from typing import Final

_STEP_BYTES: Final = 2 * 1024 * 1024
_MADV_POPULATE_WRITE: Final = 23  # madvise(2)


def take(size_bytes: int) -> float:
    """Take so much memory, in huge pages where there are any, and let go of it; return the seconds of the taking."""
    began_s = time.perf_counter()
    with mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        with suppress(OSError):  # a kernel without huge pages
            memory.madvise(mmap.MADV_HUGEPAGE)
        for begin in range(0, size_bytes, _STEP_BYTES):
            memory.madvise(_MADV_POPULATE_WRITE, begin, min(_STEP_BYTES, size_bytes - begin))
        return time.perf_counter() - began_s


if __name__ == "__main__":
    print(take(int(sys.argv[1])))
