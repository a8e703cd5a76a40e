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
from echoplaned.rpc import fair_handle
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
    """A caller who has gone before his command is committed holds its operation all the same, and is refused in the end."""
    world.script.start = False
    submit, given, may_commit = world.handle.submit, asyncio.Semaphore(0), asyncio.Event()

    async def commit_later(command: Command) -> Operation | None:
        given.release()
        await may_commit.wait()
        return await submit(command)

    monkeypatch.setattr(world.handle, "submit", commit_later)
    monkeypatch.setattr(fair_handle, "AT_ONCE", 20)
    deps = world.deps()
    deps = replace(deps, handle=FairHandle(world.handle), limits=replace(deps.limits, max_open_operations=20))
    models = build_services(deps).models

    async def load(number: int, peer: str) -> None:
        set_peer(peer)
        request = models_pb2.LoadModelRequest(model_id=f"m{number}", source_uri="file:fp32", version_id="v")
        await models.LoadModel(request, cast(Any, SimpleNamespace(peer=lambda: peer)))

    for number in range(10):
        leaving = asyncio.create_task(load(number, "greedy"))
        await asyncio.wait_for(given.acquire(), 10.0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
    with pytest.raises(LimitExceededError, match="10 operations"):
        await asyncio.wait_for(load(10, "greedy"), 10.0)
    may_commit.set()
    await world.handle.wait_until(lambda state: len(state.operations) == 10, 10.0)
    with pytest.raises(LimitExceededError, match="10 operations"):
        await asyncio.wait_for(load(10, "greedy"), 10.0)
    await asyncio.create_task(load(99, "other"))
