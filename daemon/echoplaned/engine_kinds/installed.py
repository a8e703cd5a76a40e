"""Finds out whether what a kind needs is installed beside the daemon.

Leaders run in the daemon's own interpreter, so it is looked for there; nothing is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec

from echoplaned.engine_kinds.kind import EngineKind


def is_installed(module: str) -> bool:
    """Say whether a top-level module could be imported, without importing it."""
    try:
        found = find_spec(module)
    except (ImportError, ValueError):  # ValueError: it is loaded, and says of itself that it came from nowhere
        return False
    # A folder of that name in the working directory is a namespace, and leaders do not even see it.
    return found is not None and found.origin is not None


def find_missing(kind: EngineKind, is_there: Callable[[str], bool] = is_installed) -> EngineKind:
    """Return the kind with those of its modules that are not installed."""
    return replace(kind, missing=tuple(module for module in kind.modules if not is_there(module)))
