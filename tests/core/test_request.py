"""Requests that come twice: by their id they get the operation that they began, or that they joined."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from echoplaned.core.commands import CancelOperation, Command, DeleteModel, DeleteVersion, LoadVersion, Request
from echoplaned.core.commands.request import MAX_JOINED_REQUESTS, find_repeated
from echoplaned.core.effects import Reply
from echoplaned.core.errors import RequestIdReusedError
from echoplaned.core.events import Event, InstancePlaced
from echoplaned.core.ids import InstanceKey, VersionKey
from echoplaned.core.placement import on_one_device
from echoplaned.core.state import State
from echoplaned.core.step import step
from echoplaned.testing import builders

Asked = Callable[[Request], Command]


def load_other(request: Request) -> Command:
    """Load another version than the one that loads."""
    return LoadVersion(request, builders.order("m", "v2"))


def load(request: Request) -> Command:
    """Load the version that loads."""
    return LoadVersion(request, builders.order("m", "v1"))


def delete(request: Request) -> Command:
    """Delete the model."""
    return DeleteModel(request, "m")


def delete_other(request: Request) -> Command:
    """Delete a version without traffic."""
    return DeleteVersion(request, "m", "v2")


def asked(state: State, event: Event | Command) -> tuple[State, list[str]]:
    """Return the state after an event, and the operations that it was answered with."""
    result = step(state, event)
    return result.state, [effect.operation_id for effect in result.effects if isinstance(effect, Reply)]


def loading() -> State:
    """Return a state with a model whose two versions load: their engines start."""
    state, _ = asked(builders.empty_state(), load(Request(1.0, "op-v1")))
    state, _ = asked(state, load_other(Request(1.0, "op-v2")))
    for version in ("v1", "v2"):
        key = InstanceKey(VersionKey("m", version), 0)
        placed = InstancePlaced(1.0, key, on_one_device("host", builders.MIB), state.reservation_epoch)
        state, _ = asked(state, placed)
    return state


@pytest.mark.parametrize("ask", [load, delete, delete_other])
def test_a_request_that_joined_is_a_repeat_next_time(ask: Asked) -> None:
    """Its own operation it never had; it gets the one that it joined, also once that has ended."""
    state, (first,) = asked(loading(), ask(Request(2.0, "op2", "first", "digest")))
    state, joined = asked(state, ask(Request(3.0, "op3", "second", "digest")))
    assert joined == [first]
    assert find_repeated(state, "second", "digest") is state.operations[first]
    before = state
    state, repeated = asked(state, ask(Request(4.0, "op4", "second", "digest")))
    assert (repeated, state.operations) == ([first], before.operations)
    with pytest.raises(RequestIdReusedError):
        step(state, ask(Request(5.0, "op5", "second", "other")))


def test_a_repeat_of_a_joined_load_does_not_load_again() -> None:
    """What it joined was cancelled meanwhile: that is its answer."""
    state, _ = asked(loading(), load(Request(2.0, "op2", "joins", "digest")))
    state, _ = asked(state, CancelOperation(Request(3.0), "op-v1"))
    assert state.operations["op-v1"].done
    state, answered = asked(state, load(Request(4.0, "op4", "joins", "digest")))
    assert answered == ["op-v1"]
    assert "op4" not in state.operations


def test_as_many_requests_are_kept_as_said() -> None:
    """The newest; one without an id takes no place."""
    state = loading()
    for number in range(MAX_JOINED_REQUESTS + 1):
        state, _ = asked(state, load(Request(2.0, "op", f"request-{number}", "digest")))
        state, _ = asked(state, load(Request(2.0, "op")))
    kept = [each.request_id for each in state.operations["op-v1"].joined]
    assert kept == [f"request-{number}" for number in range(1, MAX_JOINED_REQUESTS + 1)]
