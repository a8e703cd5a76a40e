"""The aggregated discovery service on grpc.aio.

It moves bytes; what they mean is in ``stream_sotw`` and ``stream_delta``. A peer has a share of the streams and of the names, and one
that sends what is no request loses its stream and costs one line of the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NoReturn, cast

import grpc
import grpc.aio
import structlog
from envoy.service.discovery.v3 import ads_pb2, discovery_pb2

from echoplaned.core.budgets import BudgetExceededError, BudgetShare
from echoplaned.request_reader import EOF, RequestReader
from echoplaned.runtime.faults import contain
from echoplaned.xds.budgets import XdsBudgets
from echoplaned.xds.publisher import Connection, Publisher
from echoplaned.xds.requests import BadRequestError, parse, read_delta, read_node, read_sotw
from echoplaned.xds.resources import Resource
from echoplaned.xds.stream_delta import DeltaRequest
from echoplaned.xds.stream_sotw import SotwRequest

SERVICE = ads_pb2.DESCRIPTOR.services_by_name["AggregatedDiscoveryService"].full_name
log = structlog.get_logger(__name__)

Request = SotwRequest | DeltaRequest
Context = grpc.aio.ServicerContext[object, bytes]


@dataclass(frozen=True, slots=True)
class AdsOptions:
    """Time limits of the aggregated discovery service.

    Attributes:
        first_request_timeout_s: seconds after which a stream that has not said who it is is ended.
        expire_interval_s: seconds between two looks for silent subscribers.
    """

    first_request_timeout_s: float = 30.0
    expire_interval_s: float = 0.25


@dataclass(frozen=True, slots=True)
class _Protocol:
    """One of the two protocols of ADS."""

    delta: bool
    from_bytes: Callable[[bytes], Any]
    read: Callable[[Any], Request | None]


@dataclass(frozen=True, slots=True)
class _Complaint:
    """Why a stream is ended."""

    code: grpc.StatusCode
    text: str


class AdsService:
    """Serves the publisher's snapshots over ADS.

    ``run`` must run beside the server; ``close`` ends every stream.

    Args:
        publisher: holds what is served.
        options: times.
        budgets: what the peers share.
        door: the gateway's listener; with it, every stream of this service is the gateway's own.
    """

    def __init__(
        self,
        publisher: Publisher,
        options: AdsOptions | None = None,
        budgets: XdsBudgets | None = None,
        *,
        door: Resource | None = None,
    ) -> None:
        self._door = door
        self._publisher = publisher
        self._options = options or AdsOptions()
        self._budgets = budgets or XdsBudgets()
        self._closing = False
        self._complained = False
        self._waiting: set[asyncio.Event] = set()

    def handler(self) -> grpc.GenericRpcHandler[Any, Any]:
        """Return the handler to add to a server.

        It is added by ``server.add_generic_rpc_handlers((ads.handler(),))``.
        """
        methods = {
            # No deserializer: gRPC answers bytes that are no message with UNKNOWN and a traceback in the log.
            "StreamAggregatedResources": grpc.stream_stream_rpc_method_handler(self._state_of_the_world),
            "DeltaAggregatedResources": grpc.stream_stream_rpc_method_handler(self._delta),
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
        """Log once that subscribers cannot be looked through.

        It is tried again, and ends nothing else.
        """
        if not self._complained:
            log.error("xds.expire_failed", exc_info=error)
        self._complained = True

    def close(self) -> None:
        """End every stream with UNAVAILABLE.

        So a stopping server need not wait. Clients keep what they have.
        """
        self._closing = True
        for due in self._waiting:
            due.set()

    async def _state_of_the_world(self, _requests: object, context: Context) -> None:
        await self._serve_within_share(context, _SOTW)

    async def _delta(self, _requests: object, context: Context) -> None:
        await self._serve_within_share(context, _DELTA)

    async def _serve_within_share(self, context: Context, protocol: _Protocol) -> None:
        streams, peer = self._budgets.ads_streams, context.peer()
        try:
            streams.acquire(peer)
        except BudgetExceededError as refused:
            await _end(context, _Complaint(grpc.StatusCode.RESOURCE_EXHAUSTED, str(refused)))
        try:
            with closing(BudgetShare(self._budgets.names, peer)) as names:
                await self._serve(context, protocol, names)
        finally:
            streams.release(peer)

    async def _serve(self, context: Context, protocol: _Protocol, names: BudgetShare) -> None:
        await self._publisher.wait_until_open()
        requests = RequestReader(context)
        raw = await self._first_request(requests, context)
        if raw is EOF:
            return
        try:
            message = parse(cast(bytes, raw), protocol.from_bytes)
            del raw
            node = read_node(message.node, context.peer(), self._door)
        except BadRequestError as problem:
            await _end(context, _Complaint(grpc.StatusCode.INVALID_ARGUMENT, str(problem)))
        due = asyncio.Event()
        connection = self._publisher.attach(node, due.set, delta=protocol.delta)
        reader = asyncio.ensure_future(_read(requests, protocol, _Subscriber(connection, names), message))
        del message  # this lives as long as the stream
        reader.add_done_callback(lambda _: due.set())
        self._waiting.add(due)
        try:
            while not reader.done() and not self._closing:
                # Cleared before the responses are taken: what becomes due during a write sets it again, and no wake-up is lost.
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
            await _end(context, complaint)

    async def _first_request(self, requests: RequestReader, context: Context) -> object:
        try:
            async with asyncio.timeout(self._options.first_request_timeout_s):
                return await requests.read()
        except TimeoutError:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "no request came")
        return EOF


_SOTW = _Protocol(delta=False, from_bytes=discovery_pb2.DiscoveryRequest.FromString, read=read_sotw)
_DELTA = _Protocol(delta=True, from_bytes=discovery_pb2.DeltaDiscoveryRequest.FromString, read=read_delta)


@dataclass(frozen=True, slots=True)
class _Subscriber:
    """A stream's handle, and the names that its peer holds for it."""

    connection: Connection
    names: BudgetShare

    def receive(self, request: Request | None) -> None:
        """Take a request in if its names are within the peer's share.

        None: it is of a type that is not served.

        Raises:
            BudgetExceededError: they are not; nothing of it was taken in.
        """
        if request is None:
            return
        # A request may repeat names that are held already: the most is held while it is taken in, then what it came to.
        self.names.resize(max(self.connection.max_name_count(request), self.connection.name_count))
        self.connection.receive(request)
        self.names.resize(self.connection.name_count)


async def _read(
    requests: RequestReader, protocol: _Protocol, subscriber: _Subscriber, first: object
) -> _Complaint | None:
    """Take requests in until the client has no more.

    Returns what was wrong with the last one, or None.
    """
    message: object = first
    del first
    while True:
        try:
            subscriber.receive(protocol.read(message))
            message = None  # while a client is silent, nothing is kept of what it sent but its names
            message = await _next(requests, protocol)
            if message is EOF:
                return None
        except BadRequestError as problem:
            return _Complaint(grpc.StatusCode.INVALID_ARGUMENT, str(problem))
        except BudgetExceededError as refused:
            return _Complaint(grpc.StatusCode.RESOURCE_EXHAUSTED, str(refused))


async def _next(requests: RequestReader, protocol: _Protocol) -> object:
    """Return the next message, or ``EOF``.

    Raises:
        BadRequestError: it is none.
    """
    raw = await requests.read()
    return raw if raw is EOF else parse(cast(bytes, raw), protocol.from_bytes)


async def _end(context: Context, complaint: _Complaint) -> NoReturn:
    """End a stream for what its client did.

    That is one line of the log, since whoever sends garbage sends more of it.
    """
    log.info("xds.stream_refused", peer=context.peer(), code=complaint.code.name, problem=complaint.text)
    await context.abort(complaint.code, complaint.text)
    raise AssertionError("abort always raises")  # for the type checker: the stub says that it returns
