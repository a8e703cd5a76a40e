"""One real inference made as a probe."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from echoplaned.core.facts import ModelFacts
from echoplaned.core.ids import InstanceKey, VersionKey


@dataclass(frozen=True, slots=True)
class ProbeOutcome:
    """The outcome of one real inference made as a probe.

    Attributes:
        ok: whether the answer was right.
        detail: why it failed; empty if it did not.
        duration_s: how long it took, seconds.
        overloaded: whether it found no room in the engine.
        no_verdict: whether it failed and says nothing of the engine's health: the engine was busy, or could not be reached.
    """

    ok: bool
    detail: str = ""
    duration_s: float = 0.0
    overloaded: bool = False
    no_verdict: bool = False


Reaches = Callable[[str], Awaitable[bool]]
"""Says whether a new connection to an address, ``host:port``, can be made; never raises."""


@dataclass(frozen=True, slots=True)
class LastProbe:
    """The last probe of an engine that said anything.

    Attributes:
        outcome: what came of it.
        time_s: when it ended, seconds since the epoch.
    """

    outcome: ProbeOutcome
    time_s: float


LastProbeOf = Callable[[InstanceKey, int], LastProbe | None]
"""Returns the last probe of an instance's generation while it serves; None: there was none."""


def no_probe(instance: InstanceKey, generation: int) -> LastProbe | None:
    """Know of no probe."""
    del instance, generation
    return None


class Prober(Protocol):
    """Makes one golden probe on one instance."""

    async def probe_once(self, version: VersionKey, facts: ModelFacts, address: str, index: int) -> ProbeOutcome:
        """Send one golden prompt to an instance, and check the answer.

        The prompt is number ``index``, modulo their number. Never raises for an engine's failure.
        """
        ...
