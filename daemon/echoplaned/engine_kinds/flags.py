"""Command lines over several releases of an engine.

A flag or variable that a release does not have is not passed to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from echoplaned.engine_kinds.python_builds import Release

_ALWAYS: Final[Release] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """In which releases a flag, a variable, a route or a metric is.

    Attributes:
        name: name as the engine spells it.
        since: first release that is known to have it; empty: the oldest that is supported has it.
        before: first release that is known to lack it again; empty: none is.
    """

    name: str
    since: Release = _ALWAYS
    before: Release = _ALWAYS

    def is_in(self, release: Release) -> bool:
        """Whether a release has it."""
        return release >= self.since and not (self.before and release >= self.before)


Changes = Mapping[str, Change]
"""By name; what is not in it is in every release that is supported."""


def table(*changes: Change) -> Changes:
    """Return changes by their names."""
    return {change.name: change for change in changes}


def has(changes: Changes, name: str, release: Release) -> bool:
    """Whether a release has a flag, a variable, a route or a metric."""
    change = changes.get(name)
    return change is None or change.is_in(release)


def write_flags(flags: Iterable[tuple[str, ...]], changes: Changes, release: Release) -> tuple[str, ...]:
    """Return a command line's words, without flags that the release lacks.

    Of each flag that it has, the flag and its values.
    """
    return tuple(word for flag in flags if has(changes, flag[0], release) for word in flag)
