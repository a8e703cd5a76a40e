"""Engine kinds by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from echoplaned.core.effects import DrainEngine, ProbeEngine, StartEngine, StopEngine
from echoplaned.core.errors import FieldInvalidError
from echoplaned.core.events import EngineGaveUp, EngineLost, EngineReady, EngineStopped, Event, FoundEngine
from echoplaned.core.ids import InstanceKey
from echoplaned.engines.registry import EngineRegistry
from echoplaned.testing.builders import endpoints
from tests.engines.engine_bench import KEY, drain, probe, start, stop

READY = EngineReady(0.0, KEY, 1, endpoints("127.0.0.1:1"), "w1")


class Recorder:
    """An engine kind that remembers what it was asked."""

    def __init__(self, found: tuple[FoundEngine, ...] = ()) -> None:
        self.asked: list[str] = []
        self._found = found

    def start(self, effect: StartEngine) -> None:
        """Remember."""
        self.asked.append(f"start {effect.generation}")

    def probe(self, effect: ProbeEngine) -> None:
        """Remember."""
        self.asked.append(f"probe {effect.generation}")

    def drain(self, effect: DrainEngine) -> None:
        """Remember."""
        self.asked.append(f"drain {effect.generation}")

    def undrain(self, instance: InstanceKey, generation: int) -> None:
        """Remember."""
        self.asked.append(f"undrain {instance} {generation}")

    def stop(self, effect: StopEngine) -> None:
        """Remember."""
        self.asked.append(f"stop {effect.generation}")

    async def adopt(self) -> tuple[FoundEngine, ...]:
        """Return what was found."""
        return self._found

    async def sweep(self, owned: frozenset[tuple[InstanceKey, int]]) -> int:
        """Count what is not owned."""
        return sum((engine.instance, engine.generation) not in owned for engine in self._found)


def registry(**kinds: Recorder) -> tuple[EngineRegistry, list[Event]]:
    """Return a registry with kinds and the list of its answers."""
    events: list[Event] = []
    made = EngineRegistry(events.append, lambda: 5.0)
    for name, kind in kinds.items():
        made.add(name, kind)
    return made, events


def everything(made: EngineRegistry) -> None:
    """Ask for everything about an instance but its start."""
    made.probe(probe(READY))
    made.drain(drain(9.0))
    made.undrain(KEY, 1)
    made.stop(stop())


def test_an_instance_belongs_to_the_kind_that_started_it() -> None:
    """Effects without a kind's name find their way, until the instance has ended."""
    torch, other = Recorder(), Recorder()
    made, events = registry(torch=torch, other=other)
    made.start(start(Path("/m")))
    everything(made)
    assert torch.asked == ["start 1", "probe 1", "drain 1", "undrain m/v1#0 1", "stop 1"]
    assert other.asked == []
    made.emit(EngineStopped(6.0, KEY, 1))
    made.stop(stop())
    assert len(torch.asked) == 5
    assert events == [EngineStopped(6.0, KEY, 1), EngineStopped(5.0, KEY, 1)]


def test_an_unknown_kind_is_refused_before_and_given_up_after() -> None:
    """A request is told which kinds there are; a stored version of a kind that has gone fails with a reason."""
    made, events = registry(torch=Recorder())
    made.check("torch")
    with pytest.raises(FieldInvalidError, match="there is no engine 'warp'; there are: torch"):
        made.check("warp")
    effect = start(Path("/m"))
    made.start(replace(effect, spec=replace(effect.spec, shape=replace(effect.spec.shape, engine="warp"))))
    (event,) = events
    assert isinstance(event, EngineGaveUp)
    assert "'warp'" in event.failure.message


def test_what_nobody_knows_is_answered() -> None:
    """No effect stays without an answer."""
    made, events = registry(torch=Recorder())
    everything(made)
    assert [type(event) for event in events] == [EngineLost, EngineLost, EngineStopped]


async def test_adopted_instances_belong_to_their_finder() -> None:
    """After a restart effects go to the kind that found the process; sweeps are added up."""
    torch = Recorder((FoundEngine(KEY, 1, endpoints("127.0.0.1:1"), "w1"),))
    made, events = registry(other=Recorder(), torch=torch)
    assert len(await made.adopt()) == 1
    made.stop(stop())
    assert torch.asked == ["stop 1"]
    assert events == []
    assert await made.sweep(frozenset()) == 1
    assert await made.sweep(frozenset({(KEY, 1)})) == 0
