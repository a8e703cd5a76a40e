"""The build that serves a version first stays its build."""

from __future__ import annotations

from echoplaned.core import commands as cmd
from echoplaned.core import engine_events as eng
from echoplaned.core import events as ev
from echoplaned.core.desired_effects import desired_effects
from echoplaned.core.effects import StartEngine
from echoplaned.core.failure import FailureDetail, Reason
from echoplaned.core.ids import InstanceKey, VersionKey
from echoplaned.core.placement import on_one_device
from echoplaned.core.queries import version_state
from echoplaned.core.state import State, VersionState
from echoplaned.testing import builders

KEY = InstanceKey(VersionKey("m", "v1"), 0)


def starting() -> State:
    """Return a state with one instance that starts."""
    load = cmd.LoadVersion(cmd.Request(1.0, "load"), builders.order())
    state = builders.run(builders.empty_state(), load)
    placed = ev.InstancePlaced(2.0, KEY, on_one_device("host", builders.MIB), state.reservation_epoch)
    return builders.run(state, placed)


def ready(generation: int, build: str) -> eng.EngineReady:
    """Return what its engine says once it serves."""
    return eng.EngineReady(3.0, KEY, generation, builders.endpoints("127.0.0.1:1"), "w1", build)


def build_of(state: State) -> str:
    """Return the version's build."""
    return state.models["m"].versions["v1"].engine_build


def asked_for(state: State, now_s: float) -> list[str]:
    """Return the builds that starts ask for."""
    return [
        one.engine_build
        for one in desired_effects(state.models["m"], state.reservation_epoch, now_s)
        if isinstance(one, StartEngine)
    ]


def test_the_first_build_is_kept_and_asked_for_at_a_restart() -> None:
    """The first start asks for none; what it found is asked for after a loss, and no later session changes it."""
    state = starting()
    assert asked_for(state, 2.0) == [""]
    state = builders.run(state, ready(1, "engine 1.0"))
    assert build_of(state) == "engine 1.0"
    state = builders.run(state, eng.EngineLost(4.0, KEY, 1, "killed"))
    assert asked_for(state, 60.0) == ["engine 1.0"]
    assert build_of(builders.run(state, ready(2, "engine 2.0"))) == "engine 1.0"


def test_an_engine_that_names_none_is_asked_for_none() -> None:
    """The embedded engine is of the daemon's own build."""
    state = builders.run(starting(), ready(1, ""), eng.EngineLost(4.0, KEY, 1, "killed"))
    assert build_of(state) == ""
    assert asked_for(state, 60.0) == [""]


def test_another_build_is_final() -> None:
    """The version says so and is not started again."""
    state = builders.run(starting(), ready(1, "engine 1.0"), eng.EngineLost(4.0, KEY, 1, "killed"))
    failure = FailureDetail(Reason.ENGINE_CHANGED, "another build")
    state = builders.run(state, eng.EngineGaveUp(5.0, KEY, 2, failure), eng.EngineStopped(6.0, KEY, 2))
    version = state.models["m"].versions["v1"]
    assert version_state(version) is VersionState.FAILED
    assert version.failure == failure
    assert asked_for(state, 600.0) == []
