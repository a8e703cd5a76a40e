"""Engine kinds by name. A kind is one file that implements the ``Engines`` port; adding it is one call of ``add``."""

from __future__ import annotations

from echoplaned.core.effects import DrainEngine, ProbeEngine, StartEngine, StopEngine
from echoplaned.core.errors import FieldInvalidError
from echoplaned.core.events import EngineGaveUp, EngineLost, EngineStopped, Event, FoundEngine
from echoplaned.core.failure import Failure, Reason, Violation
from echoplaned.core.ids import InstanceKey
from echoplaned.ports.emit import Clock, Emit
from echoplaned.ports.engines import Engines


class EngineRegistry:
    """Implements the ``Engines`` port by handing each instance to the kind that its specification names.

    Args:
        emit: takes every answer; the kinds answer through ``EngineRegistry.emit``, which forgets what has ended.
        clock: seconds since the epoch.
    """

    def __init__(self, emit: Emit, clock: Clock) -> None:
        self._kinds: dict[str, Engines] = {}
        self._emit = emit
        self._clock = clock
        self._kind_of: dict[tuple[InstanceKey, int], Engines] = {}

    def add(self, name: str, kind: Engines) -> None:
        """Make a kind known by a name."""
        self._kinds[name] = kind

    def emit(self, event: Event) -> None:
        """Pass a kind's answer on; an instance that was lost or stopped is nobody's any more."""
        if isinstance(event, EngineLost | EngineStopped):
            self._kind_of.pop((event.instance, event.generation), None)
        self._emit(event)

    def check(self, name: str) -> None:
        """Refuse the name of an engine that is not here.

        Raises:
            FieldInvalidError: there is no such kind; the message names those there are.
        """
        if name not in self._kinds:
            known = ", ".join(sorted(self._kinds))
            raise FieldInvalidError(Violation("engine", f"there is no engine {name[:64]!r}; there are: {known}"))

    def start(self, effect: StartEngine) -> None:
        """Start an engine of the kind that the version asks for."""
        kind = self._kinds.get(effect.spec.shape.engine)
        if kind is None:
            failure = Failure(Reason.ENGINE_START_FAILED, f"there is no engine {effect.spec.shape.engine!r} here")
            self._emit(EngineGaveUp(self._clock(), effect.instance, effect.generation, failure))
            return
        self._kind_of[effect.instance, effect.generation] = kind
        kind.start(effect)

    def probe(self, effect: ProbeEngine) -> None:
        """Probe an instance."""
        kind = self._find(effect.instance, effect.generation)
        if kind is None:
            self._lost(effect.instance, effect.generation)
        else:
            kind.probe(effect)

    def drain(self, effect: DrainEngine) -> None:
        """Drain an instance."""
        kind = self._find(effect.instance, effect.generation)
        if kind is None:
            self._lost(effect.instance, effect.generation)
        else:
            kind.drain(effect)

    def undrain(self, instance: InstanceKey, generation: int) -> None:
        """Give a drain up."""
        kind = self._find(instance, generation)
        if kind is not None:
            kind.undrain(instance, generation)

    def stop(self, effect: StopEngine) -> None:
        """Stop an instance; one that no kind knows has stopped already."""
        kind = self._find(effect.instance, effect.generation)
        if kind is None:
            self._emit(EngineStopped(self._clock(), effect.instance, effect.generation))
        else:
            kind.stop(effect)

    async def adopt(self) -> tuple[FoundEngine, ...]:
        """Let every kind find what outlived the last daemon."""
        found: list[FoundEngine] = []
        for kind in self._kinds.values():
            for engine in await kind.adopt():
                self._kind_of[engine.instance, engine.generation] = kind
                found.append(engine)
        return tuple(found)

    async def sweep(self, owned: frozenset[tuple[InstanceKey, int]]) -> int:
        """Let every kind kill what nobody owns."""
        return sum([await kind.sweep(owned) for kind in self._kinds.values()])

    def _find(self, instance: InstanceKey, generation: int) -> Engines | None:
        return self._kind_of.get((instance, generation))

    def _lost(self, instance: InstanceKey, generation: int) -> None:
        self._emit(EngineLost(self._clock(), instance, generation, "it has no process"))
