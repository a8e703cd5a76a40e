"""What a repository's client may load by name: read in a thread, the connections in turn."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Mapping
from typing import Any, cast

import pytest

from echoplaned.core.errors import LimitExceededError
from echoplaned.ports.planning import Planning
from echoplaned.rpc.peer import set_peer
from echoplaned.rpc.repository_catalogue import RepositoryCatalogue


class SlowDisk:
    """Lists nothing, and only when it is let."""

    def __init__(self) -> None:
        self.lists = 0
        self.turn = threading.Semaphore(0)

    def list_sources(self) -> tuple[str, ...]:
        """List the checkpoints."""
        assert self.turn.acquire(timeout=10)
        self.lists += 1
        return ()

    def read(self) -> Mapping[str, bytes]:
        """Return what was unloaded."""
        return {}

    def keep(self, model_id: str, content: bytes) -> None:
        """Nobody asks."""
        raise AssertionError(model_id, content)


async def by(peer: str, call: Awaitable[Any]) -> Any:
    """Call for a connection."""
    set_peer(peer)
    return await call


async def test_connections_take_turns_at_the_disk() -> None:
    """Beside one with a hundred lists waiting another's load by name is the next but one; a share of them may wait."""
    disk = SlowDisk()
    catalogue = RepositoryCatalogue(cast(Planning, disk), disk)
    lists = [asyncio.create_task(by("greedy", catalogue.loadable())) for _ in range(101)]
    await asyncio.sleep(0)
    with pytest.raises(LimitExceededError, match="repository"):
        await by("greedy", catalogue.loadable())
    found = asyncio.create_task(by("other", catalogue.find("m")))
    await asyncio.sleep(0)
    disk.turn.release(3)
    assert await asyncio.wait_for(found, 10) is None
    assert disk.lists <= 3
    disk.turn.release(len(lists))
    await asyncio.gather(*lists)
