"""What an embedded engine is, for figures that belong to it: its libraries' versions, and how its heap gives memory back."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from echoplaned.engines.heap import heap_name

_LIBRARIES: Final = ("torch", "transformers", "torchao")


def torch_engine_version(environment: Mapping[str, str]) -> str:
    """Return the name that measurements of a worker with this environment are kept under; reads metadata, imports nothing.

    How the heap is set is part of it.
    """
    names = [f"{name} {_version(name)}" for name in _LIBRARIES]
    return ", ".join([*names, heap_name(environment)])


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "missing"
