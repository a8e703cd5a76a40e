"""What the engines counted of tokens, by version."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

from echoplaned.core.ids import VersionKey
from echoplaned.core.token_counts import TokenCounts


@dataclass(frozen=True, slots=True)
class TokenReport:
    """Tokens of every version.

    Attributes:
        totals: tokens by version, where its engines count them; also of versions that are not there any more.
        uncounted: versions with an engine that counts none now.
    """

    totals: Mapping[VersionKey, TokenCounts] = field(default_factory=lambda: MappingProxyType({}))
    uncounted: frozenset[VersionKey] = frozenset()


@dataclass(frozen=True, slots=True)
class SavedTokens:
    """What one daemon leaves the next one of tokens.

    Attributes:
        totals: tokens by version.
        seen: what each engine had counted when the totals were saved, by the id of its leader, which names one life of one process.
    """

    totals: Mapping[VersionKey, TokenCounts] = field(default_factory=lambda: MappingProxyType({}))
    seen: Mapping[str, TokenCounts] = field(default_factory=lambda: MappingProxyType({}))


ReadTokens: TypeAlias = Callable[[], TokenReport]
"""Returns what the engines counted until their last reports."""
