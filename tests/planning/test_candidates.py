"""What could be evicted: ready, on one device, and needed by nobody at once."""

from __future__ import annotations

from dataclasses import replace

from echoplaned.core import commands as cmd
from echoplaned.core import engine_events as eng
from echoplaned.core import events as ev
from echoplaned.core.ids import InstanceKey
from echoplaned.core.placement import on_one_device
from echoplaned.core.plan import EvictionCandidate
from echoplaned.core.state import State
from echoplaned.planning.candidates import candidates_of
from echoplaned.testing import builders


def loaded(state: State, version: str) -> State:
    """Return the state with another version of ``m`` that is ready after two seconds."""
    key = InstanceKey.parse(f"m/{version}#0")
    state = builders.run(state, cmd.LoadVersion(cmd.Request(10.0, version), builders.order(version=version)))
    placed = ev.InstancePlaced(10.0, key, on_one_device("host", 128 * builders.MIB), state.reservation_epoch)
    return builders.run(
        state,
        placed,
        eng.EngineReady(11.0, key, 1, builders.endpoints("127.0.0.1:1"), "w1"),
        eng.ProbesPassed(12.0, key, 1),
    )


def test_a_version_beside_the_serving_one() -> None:
    """It is named with its bytes and the seconds that its load took; the serving version is never among them."""
    state = loaded(loaded(builders.empty_state(), "v1"), "v2")
    assert state.models["m"].serving_version == "v1"
    assert candidates_of(state) == (
        EvictionCandidate("models/m/versions/v2", "host", 128 * builders.MIB, wake_seconds=None, reload_seconds=2.0),
    )


def test_pinned_loading_and_rolled_out_versions_stay() -> None:
    """A pin, a load that is under way and a rollout each keep a version."""
    state = loaded(loaded(builders.empty_state(), "v1"), "v2")
    pinned = builders.run(state, cmd.ConfigureModel(cmd.Request(13.0), "m", pins=(("v2", True),)))
    assert candidates_of(pinned) == ()
    loading = cmd.LoadVersion(cmd.Request(13.0, "v3"), builders.order(version="v3"))
    assert [one.name for one in candidates_of(builders.run(state, loading))] == ["models/m/versions/v2"]
    routes = state.models["m"].routes
    assert routes is not None
    update = cmd.UpdateModel(cmd.Request(13.0, "u"), builders.order(version="v2"), "r1", builders.policy())
    assert candidates_of(builders.run(state, update)) == ()
    assert candidates_of(replace(state, models={})) == ()
