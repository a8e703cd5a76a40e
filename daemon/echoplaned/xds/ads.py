"""The aggregated discovery service on grpc.aio.

It moves bytes; what they mean is in ``stream_sotw`` and ``stream_delta``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import grpc
import grpc.aio
import structlog
from envoy.service.discovery.v3 import ads_pb2, discovery_pb2

from echoplaned.runtime.faults import contain
from echoplaned.xds.publisher import Connection, Publisher
from echoplaned.xds.requests import BadRequestError, read_delta, read_node, read_sotw
from echoplaned.xds.stream_delta import DeltaRequest
from echoplaned.xds.stream_sotw import SotwRequest

SERVICE = ads_pb2.DESCRIPTOR.services_by_name["AggregatedDiscoveryService"].full_name
log = structlog.get_logger(__name__)
_EOF: object = cast(Any, grpc.aio).EOF  # the stubs lack it

Request = SotwRequest | DeltaRequest
Context = grpc.aio.ServicerContext[object, bytes]


@dataclass(frozen=True, slots=True)
class AdsOptions:
    """``first_request_timeout_s``: a stream that has not said who it is by then is ended.

    ``expire_interval_s``: how often silent subscribers are looked for.
    """

    first_request_timeout_s: float = 30.0
    expire_interval_s: float = 0.25


class AdsService:
    """Serves the publisher's snapshots. ``run`` must run beside the server; ``close`` ends every stream."""

    def __init__(self, publisher: Publisher, options: AdsOptions | None = None) -> None:
        self._publisher = publisher
        self._options = options or AdsOptions()
        self._closing = False
        self._complained = False
        self._waiting: set[asyncio.Event] = set()

    def handler(self) -> grpc.GenericRpcHandler[Any, Any]:
        """Return the handler to add to a server: ``server.add_generic_rpc_handlers((ads.handler(),))``."""
        methods = {
            "StreamAggregatedResources": grpc.stream_stream_rpc_method_handler(
                self._state_of_the_world, request_deserializer=discovery_pb2.DiscoveryRequest.FromString
            ),
            "DeltaAggregatedResources": grpc.stream_stream_rpc_method_handler(
                self._delta, request_deserializer=discovery_pb2.DeltaDiscoveryRequest.FromString
            ),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    async def run(self) -> None:
        """Look for silent subscribers until cancelled."""
        while True:
            await asyncio.sleep(self._options.expire_interval_s)
            with contain(self._expire_failed):
                self._publisher.expire()
                self._complained = False

    def _expire_failed(self, error: BaseException) -> None:
        """Say once that subscribers cannot be looked through; it is tried again, and ends nothing else."""
        if not self._complained:
            log.error("xds.expire_failed", exc_info=error)
        self._complained = True

    def close(self) -> None:
        """End every stream with UNAVAILABLE, so that a stopping server need not wait. Clients keep what they have."""
        self._closing = True
        for due in self._waiting:
            due.set()

    async def _state_of_the_world(self, _requests: object, context: Context) -> None:
        await self._serve(context, read_sotw, delta=False)

    async def _delta(self, _requests: object, context: Context) -> None:
        await self._serve(context, read_delta, delta=True)

    async def _serve(self, context: Context, read: Callable[[Any], Request | None], *, delta: bool) -> None:
        await self._publisher.opened()
        first = await self._first_request(context)
        if first is _EOF:
            return
        try:
            node = read_node(cast(Any, first).node, context.peer())
        except BadRequestError as problem:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(problem))
        due = asyncio.Event()
        connection = self._publisher.attach(node, due.set, delta=delta)
        reader = asyncio.ensure_future(_read(context, read, connection, first))
        reader.add_done_callback(lambda _: due.set())
        self._waiting.add(due)
        try:
            while not reader.done() and not self._closing:
                due.clear()
                for response in connection.responses():
                    await context.write(response)
                await due.wait()
        finally:
            self._waiting.discard(due)
            connection.close()
            reader.cancel()
        if not reader.done():
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the server is stopping")
        if complaint := reader.result():
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, complaint)

    async def _first_request(self, context: Context) -> object:
        try:
            async with asyncio.timeout(self._options.first_request_timeout_s):
                return await context.read()
        except TimeoutError:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "no request came")
        return _EOF


async def _read(context: Context, read: Callable[[Any], Request | None], connection: Connection, first: object) -> str:
    """Take requests in until the client has no more; return what was wrong with the last, or nothing."""
    message = first
    while message is not _EOF:
        try:
            request = read(message)
        except BadRequestError as problem:
            return str(problem)
        if request is not None:
            connection.receive(request)
        message = await context.read()
    return ""
