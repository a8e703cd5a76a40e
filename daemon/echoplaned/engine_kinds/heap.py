"""How a worker's C heap is set.

Variables of glibc, and the name that measurements are kept under.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

TRIM_THRESHOLD: Final = "MALLOC_TRIM_THRESHOLD_"
MMAP_THRESHOLD: Final = "MALLOC_MMAP_THRESHOLD_"
_TUNABLES: Final = "GLIBC_TUNABLES"

# One heap, whose free top is kept up to 32 MiB (the largest threshold that glibc takes): a forward pass uses again what the last one
# freed. Handing every freed block back at once would make the resident size exact, and INT8 twice as slow (MiniLM, one text of 13
# tokens: 45 ms of CPU against 20 ms), since each of its linear layers makes a dequantised copy that has to be faulted in anew.
_FAST_BYTES: Final = 32 * 1024 * 1024
_EXACT_BYTES: Final = 64 * 1024
# torch aligns its blocks to 64 bytes. glibc cuts such a block out of a larger one, and its caches keep the cuttings, so that the block is
# never whole again and the next of the same size takes new memory. Without these caches a worker keeps half to a third of that, at no
# cost that was measured (MiniLM, 8 sequences of 256 tokens: 53 MB beyond the model for 79; INT8, one text: 19.4 ms for 20.4).
_NO_TCACHE: Final = "glibc.malloc.tcache_count=0"
_NO_CACHES: Final = f"{_NO_TCACHE}:glibc.malloc.mxfast=0"


def heap_variables(environment: Mapping[str, str], *, exact: bool) -> dict[str, str]:
    """Return the environment variables that set the heap.

    The environment's own tunables come last. ``exact``: hand freed blocks back at once.
    """
    threshold = str(_EXACT_BYTES if exact else _FAST_BYTES)
    tunables = ":".join(filter(None, [_NO_CACHES, environment.get(_TUNABLES)]))
    return {TRIM_THRESHOLD: threshold, MMAP_THRESHOLD: threshold, "MALLOC_ARENA_MAX": "1", _TUNABLES: tunables}


def heap_name(environment: Mapping[str, str]) -> str:
    """Return a name that tells differently set heaps apart.

    One that keeps freed blocks for the next call needs more memory than one that hands them back.
    """
    caches = "" if _NO_TCACHE in environment.get(_TUNABLES, "") else " with caches"
    return f"malloc {environment.get(TRIM_THRESHOLD, 'default')}{caches}"
