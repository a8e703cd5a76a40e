"""Engines, as the loop sees them."""

from __future__ import annotations

from typing import Protocol

from echoplaned.core.effects import DrainEngine, ProbeEngine, StartEngine, StopEngine
from echoplaned.core.events import FoundEngine
from echoplaned.core.ids import InstanceKey


class Engines(Protocol):
    """Engines, whatever their kind.

    Every method returns at once; results come as events with the effect's instance and generation.
    """

    def start(self, effect: StartEngine) -> None:
        """Start an engine, or take over what runs already for this generation.

        Answers EngineReady, EngineLost, EngineStuck or EngineGaveUp.
        """
        ...

    def probe(self, effect: ProbeEngine) -> None:
        """Make real inferences on an engine.

        Answers ProbesPassed or ProbesFailed, then MemoryMeasured; EngineStuck if they do not end.
        """
        ...

    def drain(self, effect: DrainEngine) -> None:
        """Wait until an engine has no request under way.

        Answers EngineDrained. Given up without an answer when ``undrain`` is called.
        """
        ...

    def undrain(self, instance: InstanceKey, generation: int) -> None:
        """Stop waiting for an engine's requests to end: the instance serves again."""
        ...

    def stop(self, effect: StopEngine) -> None:
        """End every process of the engine.

        Answers EngineStopped when none is left, also if there was none; EngineGaveUp if one stays.
        """
        ...

    async def adopt(self) -> tuple[FoundEngine, ...]:
        """Find the engines that outlived the last daemon and watch them."""
        ...

    async def sweep(self, owned: frozenset[tuple[InstanceKey, int]]) -> int:
        """Kill every engine process that nobody owns; return how many.

        Only processes of this state directory are looked at.

        Args:
            owned: the instances, each with its generation, whose engines stay.
        """
        ...
