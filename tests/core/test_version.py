"""Versions that answer nothing any more: whatever is loaded next takes their place, and they can be deleted."""

from __future__ import annotations

import dataclasses

import pytest

from echoplaned.core.commands import CancelOperation, Command, DeleteVersion, LoadVersion, Request, UpdateModel
from echoplaned.core.engine_events import EngineReady, ProbesPassed
from echoplaned.core.errors import StateInvalidError
from echoplaned.core.events import Event, InstancePlaced, Tick
from echoplaned.core.failure import FailureDetail, Reason
from echoplaned.core.ids import InstanceKey, VersionKey
from echoplaned.core.placement import on_one_device
from echoplaned.core.queries import has_served, version_state, weight_ppm
from echoplaned.core.state import OperationKind, State, VersionState
from echoplaned.core.step import step
from echoplaned.testing import builders


def after(state: State, *events: Event | Command) -> State:
    """Return the state after some events."""
    for event in events:
        state = step(state, event).state
    return state


def load(version: str, at_s: float = 1.0) -> LoadVersion:
    """Return the command that loads a version of m."""
    return LoadVersion(Request(at_s, f"load-{version}-{at_s:g}"), builders.order("m", version))


def started(state: State, version: str, ordinal: int = 0) -> State:
    """Return the state in which an engine of a version came up and passed its probes."""
    key = InstanceKey(VersionKey("m", version), ordinal)
    placed = InstancePlaced(2.0, key, on_one_device("host", builders.MIB), state.reservation_epoch)
    ready = EngineReady(3.0, key, 1, builders.endpoints("127.0.0.1:1"), "leader")
    return after(state, placed, ready, ProbesPassed(4.0, key, 1))


@pytest.fixture(name="given_up")
def fixture_given_up() -> State:
    """Return a state whose only load was cancelled before the version was ready."""
    return after(builders.empty_state(), load("v1"), CancelOperation(Request(2.0), "load-v1-1"), Tick(3.0))


def test_a_cancelled_first_load_gives_its_place_to_the_next(given_up: State) -> None:
    """The next version has the traffic once it is ready, and the first one can go."""
    assert version_state(given_up.models["m"].versions["v1"]) is VersionState.COLD
    state = started(after(given_up, load("v2", 5.0)), "v2")
    model = state.models["m"]
    assert (model.serving_version, weight_ppm(model, "v2")) == ("v2", 1_000_000)
    state = after(state, DeleteVersion(Request(6.0, "delete"), "m", "v1"))
    assert "v1" not in state.models["m"].versions
    assert state.operations["delete"].done


def test_a_cancelled_first_load_can_be_deleted(given_up: State) -> None:
    """It has no traffic, and nothing else need be there."""
    state = after(given_up, DeleteVersion(Request(4.0, "delete"), "m", "v1"))
    assert (state.models["m"].serving_version, dict(state.models["m"].versions)) == ("", {})


def test_a_cancelled_load_that_still_stops_gives_its_place_too() -> None:
    """Its engine was starting; the next load need not wait until it has gone."""
    key = InstanceKey(VersionKey("m", "v1"), 0)
    state = after(builders.empty_state(), load("v1"))
    state = after(state, InstancePlaced(2.0, key, on_one_device("host", builders.MIB), state.reservation_epoch))
    state = after(state, CancelOperation(Request(3.0), "load-v1-1"), load("v2", 4.0))
    assert state.models["m"].versions["v1"].instances
    assert state.models["m"].serving_version == "v2"


def test_a_version_that_loads_keeps_its_place() -> None:
    """A second version that is loaded beside the first takes no traffic."""
    state = after(builders.empty_state(), load("v1"), load("v2", 2.0))
    assert state.models["m"].serving_version == "v1"
    assert not has_served(state.models["m"])
    state = started(state, "v1")
    assert has_served(state.models["m"])
    with pytest.raises(StateInvalidError, match="serves the model's traffic"):
        step(state, DeleteVersion(Request(5.0, "delete"), "m", "v1"))


def test_an_update_to_a_failed_serving_version_is_refused() -> None:
    """Nothing would bring it back; LoadModel does."""
    state = after(builders.empty_state(), load("v1"))
    model = state.models["m"]
    failed = dataclasses.replace(
        model.versions["v1"], instances=(), failure=FailureDetail(Reason.ENGINE_CRASH_LOOP, "no luck")
    )
    state = dataclasses.replace(state, models={"m": dataclasses.replace(model, versions={"v1": failed})})
    update = UpdateModel(Request(9.0, "update"), builders.order("m", "v1"), "r1", builders.policy())
    with pytest.raises(StateInvalidError, match="has no version that serves"):
        step(state, update)


def test_an_update_to_a_serving_version_that_starts_is_done() -> None:
    """It is what the model serves already; that it was found ready is not counted."""
    state = after(builders.empty_state(), load("v1"))
    update = UpdateModel(Request(9.0, "update"), builders.order("m", "v1"), "r1", builders.policy())
    state = after(state, update)
    operation = state.operations["update"]
    assert (operation.kind, operation.done) == (OperationKind.UPDATE, True)
    assert state.models["m"].versions["v1"].cache.hits == 0
