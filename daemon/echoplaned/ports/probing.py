"""One real inference made as a probe."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from echoplaned.core.facts import ModelFacts
from echoplaned.core.ids import VersionKey


@dataclass(frozen=True, slots=True)
class ProbeOutcome:
    """One real inference made as a probe. ``detail``: why it failed; empty if it did not. ``overloaded``: it found no room."""

    ok: bool
    detail: str = ""
    duration_s: float = 0.0
    overloaded: bool = False


Reaches = Callable[[str], Awaitable[bool]]
"""Says whether a new connection to an address, ``host:port``, can be made; never raises."""


class Prober(Protocol):
    """Makes one golden probe on one instance."""

    async def probe_once(self, version: VersionKey, facts: ModelFacts, address: str, index: int) -> ProbeOutcome:
        """Send golden prompt ``index`` (modulo their number) and check the answer; never raises for an engine's failure."""
        ...
