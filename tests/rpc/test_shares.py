"""Which connection has which open operation."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from echoplane.v1 import models_pb2
from echoplaned.core.commands import Command
from echoplaned.core.errors import LimitExceededError
from echoplaned.core.state import Operation, OperationKind, State
from echoplaned.rpc.fair_handle import FairHandle
from echoplaned.rpc.peer import set_peer
from echoplaned.rpc.services import build_services
from echoplaned.rpc.shares import OperationShares
from tests.rpc.world import World


def with_open(state: State, *ids: str) -> State:
    """Return the state with these operations open and no others."""
    return replace(state, operations={name: Operation(name, OperationKind.LOAD, "m") for name in ids})


def test_a_connection_has_half() -> None:
    """One connection gets half of the operations; another one still gets its own; what has ended is given back."""
    shares, state = OperationShares(40), State()
    ids = [f"o{number}" for number in range(20)]
    for name in ids:
        with shares.reserve(state, name, "greedy"):
            state = with_open(state, *state.operations, name)
    with pytest.raises(LimitExceededError, match="20 operations"), shares.reserve(state, "more", "greedy"):
        raise AssertionError("was let in")
    with shares.reserve(state, "small", "small"):
        pass
    state = with_open(state, *ids[:5])
    with shares.reserve(state, "again", "greedy"):
        pass
    assert shares._budget.used == 6


def test_calls_that_are_taken_in_count() -> None:
    """Those whose operation is not in the state yet count too, so that many at once do not slip through together."""
    shares, state = OperationShares(1), State()
    with (
        shares.reserve(state, "first", "a"),
        pytest.raises(LimitExceededError),
        shares.reserve(state, "second", "b"),
    ):
        raise AssertionError("was let in")
    with shares.reserve(state, "third", "b"):
        pass


def test_what_an_earlier_daemon_left_open_counts() -> None:
    """Nobody's operations are within the total, and in no connection's share."""
    shares, state = OperationShares(4), with_open(State(), "x", "y", "z")
    with shares.reserve(state, "o", "a"):
        pass
    state = with_open(state, "x", "y", "z", "o")
    with pytest.raises(LimitExceededError, match="4 of 4"), shares.reserve(state, "p", "b"):
        raise AssertionError("was let in")


async def test_who_leaves_keeps_what_he_asked_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller whose deadline ends before his command is committed holds its operation all the same, and is refused in the end."""
    world.script.start = False
    submit = world.handle.submit

    async def commit_later(command: Command) -> Operation | None:
        await asyncio.sleep(0.05)
        return await submit(command)

    monkeypatch.setattr(world.handle, "submit", commit_later)
    deps = world.deps()
    deps = replace(deps, handle=FairHandle(world.handle), limits=replace(deps.limits, max_open_operations=20))
    models = build_services(deps).models

    async def load(number: int, peer: str, deadline_s: float) -> None:
        set_peer(peer)
        request = models_pb2.LoadModelRequest(model_id=f"m{number}", source_uri="file:fp32", version_id="v")
        async with asyncio.timeout(deadline_s):
            await models.LoadModel(request, cast(Any, SimpleNamespace(peer=lambda: peer)))

    async def call(number: int) -> str:
        try:
            await load(number, "greedy", 0.03)
        except (TimeoutError, LimitExceededError) as error:
            return type(error).__name__
        return "answered"

    ended = [await asyncio.create_task(call(number)) for number in range(12)]
    assert ended == ["TimeoutError"] * 10 + ["LimitExceededError"] * 2
    await world.handle.wait_until(lambda state: len(state.operations) == 10, 5.0)
    await asyncio.create_task(load(99, "other", 5.0))
