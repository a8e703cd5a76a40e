"""Finds foreign engines that are installed here, where no setting says where.

Only kinds that name a program of theirs are looked for: in the daemon's own environment, then on the ``PATH``.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass

from echoplaned.engine_kinds.foreign import EngineMissingError, ForeignEngine
from echoplaned.engine_kinds.kind import EngineKind


@dataclass(frozen=True, slots=True)
class Discovered:
    """What was found.

    Attributes:
        settings: engines as ``--engine`` takes them, ``NAME=PREFIX``.
        problems: programs on the ``PATH`` that are no such engine after all, one sentence each.
    """

    settings: tuple[str, ...]
    problems: tuple[str, ...] = ()


def discover(
    declared: tuple[EngineKind, ...], prefix: str = sys.prefix, which: Callable[[str], str | None] = shutil.which
) -> Discovered:
    """Look for the engine of every kind that names a program. Blocks.

    Args:
        declared: kinds to look for.
        prefix: Python environment that is looked into first.
        which: returns the path of a program on the ``PATH``; None: there is none.
    """
    settings, problems = [], []
    for kind in declared:
        if kind.foreign is None or not kind.foreign.program:
            continue
        if _is_at(kind.foreign, prefix):
            settings.append(f"{kind.name}={prefix}")
        elif (path := which(kind.foreign.program)) is not None:
            try:
                kind.foreign.find_build(path)
            except EngineMissingError as error:
                problems.append(f"{kind.name}: {error}")
            else:
                settings.append(f"{kind.name}={path}")
    return Discovered(tuple(settings), tuple(problems))


def _is_at(engine: ForeignEngine, prefix: str) -> bool:
    try:
        engine.find_build(prefix)
    except EngineMissingError:
        return False
    return True
