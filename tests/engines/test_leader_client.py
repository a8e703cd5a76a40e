"""Control calls to a leader: what the daemon leaves behind at its end."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc.aio
import pytest

from echoplane.worker.v1 import worker_pb2, worker_pb2_grpc
from echoplaned.engines.leader_client import LeaderClient


class _Reporting(worker_pb2_grpc.WorkerServiceServicer):
    """Reports and sends traces without an end; tells when a caller has left."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def Watch(self, request: worker_pb2.WatchRequest, context: Any) -> AsyncIterator[worker_pb2.WorkerReport]:  # noqa: N802 - the contract's name
        """Report until the caller leaves."""
        async for _ in self._until_left():
            yield worker_pb2.WorkerReport()

    async def WatchTraces(  # noqa: N802 - the contract's name
        self, request: worker_pb2.WatchTracesRequest, context: Any
    ) -> AsyncIterator[worker_pb2.TraceBatch]:
        """Send empty batches until the caller leaves."""
        async for _ in self._until_left():
            yield worker_pb2.TraceBatch()

    async def Load(self, request: worker_pb2.LoadRequest, context: Any) -> worker_pb2.LoadResponse:  # noqa: N802 - the contract's name
        """Nobody asks for it here."""
        raise NotImplementedError

    async def Drain(self, request: worker_pb2.DrainRequest, context: Any) -> worker_pb2.DrainResponse:  # noqa: N802 - the contract's name
        """Nobody asks for it here."""
        raise NotImplementedError

    async def Shutdown(self, request: worker_pb2.ShutdownRequest, context: Any) -> worker_pb2.ShutdownResponse:  # noqa: N802 - the contract's name
        """Nobody asks for it here."""
        raise NotImplementedError

    async def _until_left(self) -> AsyncIterator[None]:
        try:
            while True:
                yield
                await asyncio.sleep(0.01)
        finally:
            self.left.set()


@pytest.mark.parametrize("stream", ["reports", "traces"])
async def test_a_stream_that_is_left_ends_its_call(stream: str) -> None:
    """At once, and not when the collector of circles comes: until then each call keeps 20 KiB of gRPC's."""
    server = grpc.aio.server()
    leader = _Reporting()
    worker_pb2_grpc.add_WorkerServiceServicer_to_server(leader, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    client = LeaderClient(f"127.0.0.1:{port}")
    gc.disable()
    try:
        messages: Any = client.reports(0.1) if stream == "reports" else client.traces(1.0)
        async with aclosing(messages):
            await anext(messages)
        await asyncio.wait_for(leader.left.wait(), 10.0)
    finally:
        gc.enable()
        await client.close()
        await server.stop(None)
