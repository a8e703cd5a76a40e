"""What an embedded engine is, for figures that belong to it: its libraries' versions, and how its heap gives memory back."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Final

_LIBRARIES: Final = ("torch", "transformers", "torchao")
_THRESHOLD: Final = "MALLOC_TRIM_THRESHOLD_"
_TUNABLES: Final = "GLIBC_TUNABLES"


def torch_engine_version(environment: Mapping[str, str]) -> str:
    """Return the name that measurements of a worker with this environment are kept under; reads metadata, imports nothing.

    The heap's threshold and caches are part of it: one that keeps freed blocks for the next call needs more than one that hands them back.
    """
    names = [f"{name} {_version(name)}" for name in _LIBRARIES]
    caches = "" if "tcache_count=0" in environment.get(_TUNABLES, "") else " with caches"
    return ", ".join([*names, f"malloc {environment.get(_THRESHOLD, 'default')}{caches}"])


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "missing"
