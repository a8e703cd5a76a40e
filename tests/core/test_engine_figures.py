"""What an engine says of itself goes to its instance, and on to callers."""

from __future__ import annotations

from echoplaned.core import commands as cmd
from echoplaned.core import engine_events as eng
from echoplaned.core import events as ev
from echoplaned.core.engine_figures import EngineFigures
from echoplaned.core.ids import InstanceKey, VersionKey
from echoplaned.core.placement import on_one_device
from echoplaned.core.queries import find_instance
from echoplaned.core.state import Instance, State
from echoplaned.rpc.convert.versions import figures_to_pb
from echoplaned.testing import builders

KEY = InstanceKey(VersionKey("m", "v1"), 0)
FIGURES = EngineFigures(4096, 262_144, 2048, 2**30)


def instance_of(state: State) -> Instance:
    """Return the one instance."""
    found = find_instance(state, KEY)
    assert found is not None
    return found[2]


def loaded() -> State:
    """Return a state with one instance that was placed."""
    load = cmd.LoadVersion(cmd.Request(1.0, "load"), builders.order())
    state = builders.run(builders.empty_state(), load)
    placed = ev.InstancePlaced(2.0, KEY, on_one_device("host", builders.MIB), state.reservation_epoch)
    return builders.run(state, placed)


def test_the_newest_figures_stay() -> None:
    """A later measurement without figures takes none away."""
    state = loaded()
    told = builders.run(state, eng.MemoryMeasured(3.0, KEY, 1, 10, None, FIGURES), eng.MemoryMeasured(4.0, KEY, 1, 11))
    assert (instance_of(told).figures, instance_of(told).measured_bytes) == (FIGURES, 11)
    assert instance_of(state).figures is None


def test_figures_are_shown_as_they_are() -> None:
    """Each under its own name."""
    shown = figures_to_pb(FIGURES)
    assert (shown.context_length, shown.cache_tokens, shown.cache_blocks, shown.cache_bytes) == (
        4096,
        262_144,
        2048,
        2**30,
    )
