"""Daemons under test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc.aio
import pytest

from echoplaned.rpc.deps import RpcLimits

from .world import MakeWorld, World


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Yield a daemon that was never used."""
    world = World()
    server = await world.start()
    yield world
    await world.stubs.channel.close(None)
    world.lifecycle.begin_stop()
    await server.stop(None)


@pytest.fixture
async def make_world() -> AsyncIterator[MakeWorld]:
    """Yield a function that makes a daemon with other limits."""
    made: list[tuple[World, grpc.aio.Server]] = []

    async def make(limits: RpcLimits) -> World:
        world = World()
        world.limits = limits
        made.append((world, await world.start()))
        return world

    yield make
    for world, server in made:
        await world.stubs.channel.close(None)
        world.lifecycle.begin_stop()
        await server.stop(None)
