"""Turns of connections at the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from echoplaned.worker_contract.inference.fair_permits import FairPermits

T = TypeVar("T")


class LoopTurns:
    """Runs work on the event loop, one piece in each of its passes.

    A loop runs whatever is ready in the order in which it became so: of five hundred requests that one connection sends together all would
    be taken apart before the next step of anybody else's. Here a pass has room for one, and connections take turns at it.
    """

    def __init__(self) -> None:
        self._pass = FairPermits(1)

    async def run(self, work: Callable[[], T], peer: str) -> T:
        """Run a connection's work once its turn has come, and return what it returns.

        What it raises is raised.
        """
        await self._pass.acquire(peer)
        # In the next pass, and not when this work is done: what is ready by now has its step before the next piece.
        asyncio.get_running_loop().call_soon(self._pass.release)
        return work()
