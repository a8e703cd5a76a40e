"""The one place that publishes snapshots to ADS streams.

It holds the snapshot, wakes the streams, and reports what the clients made of it.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from echoplaned.core.routes_view import ModelRoutes
from echoplaned.ports.door_clients import NOBODY, DoorClients
from echoplaned.ports.traffic import Busy, Caller
from echoplaned.xds import snapshot as snapshots
from echoplaned.xds.clients_in_force import ClientsInForce
from echoplaned.xds.names import ResourceType
from echoplaned.xds.observer import Refusal, SubscriberView, TypeStats, XdsObserver, XdsStats
from echoplaned.xds.options import BARE_FRAME, DoorFrame
from echoplaned.xds.resources import ModelResources
from echoplaned.xds.snapshot import EMPTY, Snapshot
from echoplaned.xds.stream import ReplyKind, Stream, StreamNode, StreamReply
from echoplaned.xds.stream_delta import DeltaRequest, DeltaStream
from echoplaned.xds.stream_sotw import SotwRequest, SotwStream
from echoplaned.xds.tracking import Tracker, nack
from echoplaned.xds.wire import Encoder

ACK_TIMEOUT_S = 10.0
WEIGH_EVERY_S = 1.0
"""How often it is looked at again who of those that refuse has traffic by now."""

CLIENTS_TIMEOUT_S = 5.0
"""How long a gateway is waited for that does not say that it has the clients."""

FindBusy = Callable[[str, Collection[Caller]], Busy]
"""Says which of a model's subscribers have confirmed requests."""


def everybody(_model: str, callers: Collection[Caller]) -> Busy:
    """Take every subscriber for one with traffic: each refusal counts."""
    return Busy(frozenset(callers))


class Connection:
    """One ADS stream's handle on the publisher: requests in, encoded responses out."""

    def __init__(self, publisher: Publisher, stream: SotwStream | DeltaStream, wake: Callable[[], None]) -> None:
        self.stream = stream
        self.wake = wake
        self._publisher = publisher

    def receive(self, request: SotwRequest | DeltaRequest) -> None:
        """Take a request in.

        The kind of request must be the stream's.

        Raises:
            TypeError: a delta request on a state-of-the-world stream, or the other way round.
        """
        self._publisher.on_request(self, request)

    @property
    def name_count(self) -> int:
        """Names that the client is subscribed to."""
        return self.stream.name_count

    def max_name_count(self, request: SotwRequest | DeltaRequest) -> int:
        """Return to how many names a request can subscribe the client at most.

        That is once the request is taken in; for one of the other protocol it is as many as now.
        """
        match self.stream, request:
            case SotwStream(), SotwRequest():
                return self.stream.max_name_count(request)
            case DeltaStream(), DeltaRequest():
                return self.stream.max_name_count(request)
        return self.name_count

    def responses(self) -> list[bytes]:
        """Take the responses that are due now, in the order in which they must be sent."""
        return self._publisher.responses(self)

    def close(self) -> None:
        """Note that the stream ended."""
        self._publisher.detach(self)


class Publisher:
    """Holds the snapshot that is served to all ADS streams.

    Belongs to one event loop; none of its methods may be called from another thread.
    """

    def __init__(
        self,
        observer: XdsObserver,
        clock: Callable[[], float],
        *,
        ack_timeout_s: float = ACK_TIMEOUT_S,
        busy: FindBusy = everybody,
        tick: Callable[[], None] = lambda: None,
        frame: DoorFrame = BARE_FRAME,
    ) -> None:
        self._busy = busy
        self._tick = tick
        self._held: dict[str, tuple[Refusal, ...]] = {}
        self._weighed_s = -math.inf
        self._observer = observer
        self._clock = clock
        self._tracker = Tracker(ack_timeout_s)
        self._snapshot = snapshots.with_clients(replace(EMPTY, frame=frame), NOBODY)
        self._encoder = Encoder()
        self._connections: dict[Connection, None] = {}
        self._clients = ClientsInForce(lambda: (each.stream for each in self._connections))
        self._opened = asyncio.Event()
        self._opened_streams = 0
        self._pushes: Counter[ResourceType] = Counter()
        self._acks: Counter[ResourceType] = Counter()
        self._nacks: Counter[ResourceType] = Counter()

    def open(self, routes: Mapping[str, ModelRoutes], ack_timeouts_s: Mapping[str, float] | None = None) -> None:
        """Publish the recovered state and let the streams in; until then none is answered.

        A client that came back to an empty server would be told to delete everything.

        Args:
            routes: of every model.
            ack_timeouts_s: as for ``publish_model``, by model; one that is left out has the publisher's own.

        Raises:
            SnapshotInconsistentError: the routes contradict themselves; the publisher stays closed.
        """
        self._replace(snapshots.build(routes, self._snapshot))
        self._opened.set()
        for model, wanted in routes.items():
            self._tracker.on_published(model, wanted.epoch, self._clock(), (ack_timeouts_s or {}).get(model))
        self._tell()

    async def wait_until_open(self) -> None:
        """Wait until the first state was published."""
        await self._opened.wait()

    def publish(self, routes: Mapping[str, ModelRoutes]) -> None:
        """Publish the complete state: every model's routes.

        A model that is left out is deleted, without a report.

        Raises:
            RuntimeError: the publisher was not opened.
            SnapshotInconsistentError: as for ``open``; nothing was published.
        """
        self._need_open()
        before = self._snapshot.models
        self._replace(snapshots.build(routes, self._snapshot))
        now_s = self._clock()
        for model in before.keys() - routes.keys():
            self._tracker.on_removed(model)
        for model, wanted in routes.items():
            if model not in before or before[model].routes != wanted:
                self._tracker.on_published(model, wanted.epoch, now_s)
        self._tell()

    def publish_model(self, routes: ModelRoutes, ack_timeout_s: float | None = None) -> None:
        """Publish one model's complete routes; the others stay.

        Without clusters the model's listener goes.

        Args:
            routes: the model's.
            ack_timeout_s: a subscriber that stays without them for longer is stale; None: as for ``open``.

        An older epoch than the published one changes nothing. The same epoch again is reported again.

        Raises:
            RuntimeError: the publisher was not opened.
            SnapshotInconsistentError: as for ``open``; nothing was published.
        """
        self._need_open()
        epoch = self._snapshot.epoch_of(routes.model)
        if epoch is not None and routes.epoch < epoch:
            return
        self._replace(snapshots.with_model(self._snapshot, routes))
        self._tracker.on_published(routes.model, routes.epoch, self._clock(), ack_timeout_s)
        self._tell()

    def remove_model(self, model: str) -> None:
        """Remove a model from what is served.

        Publish it without clusters first where its deletion must be acknowledged.

        Raises:
            RuntimeError: the publisher was not opened.
        """
        self._need_open()
        if model in self._snapshot.models:
            self.publish({each.routes.model: each.routes for each in self._others(model)})

    def publish_clients(self, clients: DoorClients) -> None:
        """Publish who may call through the gateway; may be called before ``open``."""
        self._replace(snapshots.with_clients(self._snapshot, clients))
        self._clients.on_published()

    def expect_gateway(self, is_running: Callable[[], bool]) -> None:
        """Wait for a gateway that runs and is not connected, too."""
        self._clients.expect_gateway(is_running)

    async def wait_for_clients(self) -> None:
        """Wait until every gateway that runs has them, or for ``CLIENTS_TIMEOUT_S``."""
        await self._clients.wait(CLIENTS_TIMEOUT_S)

    def expire(self) -> None:
        """Mark silent subscribers as stale, and report progress.

        To be called a few times a second.
        """
        now_s = self._clock()
        self._tracker.expire(now_s)
        if now_s - self._weighed_s >= WEIGH_EVERY_S:
            self._tick()
            self._weigh_refusals()
        self._tell()
        for each in self._tracker.take_progress():
            self._observer.routes_progress(each.model, each.epoch, each.acknowledged, each.subscribers, each.stale)

    def attach(self, node: StreamNode, wake: Callable[[], None], *, delta: bool) -> Connection:
        """Let a stream in.

        ``wake`` is called when responses may be due.

        Raises:
            RuntimeError: the publisher was not opened.
        """
        self._need_open()
        stream = DeltaStream(self._snapshot, node) if delta else SotwStream(self._snapshot, node)
        connection = Connection(self, stream, wake)
        self._connections[connection] = None
        self._opened_streams += 1
        return connection

    def detach(self, connection: Connection) -> None:
        """Let a stream go; once only."""
        if connection in self._connections:
            del self._connections[connection]
            self._tracker.on_left(connection.stream)
            self._clients.look()
            self._tell()

    def on_request(self, connection: Connection, request: SotwRequest | DeltaRequest) -> None:
        """Take a stream's request in.

        Raises:
            TypeError: the request is of the other protocol.
        """
        stream = connection.stream
        match stream, request:
            case SotwStream(), SotwRequest():
                self._account(stream, stream.receive(request))
            case DeltaStream(), DeltaRequest():
                self._account(stream, stream.receive(request))
            case _:
                raise TypeError(f"a {type(request).__name__} on a {type(stream).__name__}")
        if stream.may_push:
            connection.wake()

    def responses(self, connection: Connection) -> list[bytes]:
        """Take a stream's due responses."""
        delta = isinstance(connection.stream, DeltaStream)
        taken = connection.stream.pushes()
        for each in taken:
            self._pushes[each.type] += 1
        return [self._encoder.encode(each, delta=delta) for each in taken]

    @property
    def snapshot(self) -> Snapshot:
        """What is served now."""
        return self._snapshot

    @property
    def stats(self) -> XdsStats:
        """Counts for metrics."""
        by_type = tuple(
            TypeStats(each, self._pushes[each], self._acks[each], self._nacks[each]) for each in ResourceType
        )
        return XdsStats(len(self._connections), self._opened_streams, by_type)

    def subscribers(self) -> tuple[SubscriberView, ...]:
        """Return every ADS stream as diagnostics show it."""
        return tuple(self._view(each.stream) for each in self._connections)

    def route_only_clients(self, model: str) -> frozenset[Caller]:
        """Return the clients whose traffic to a model its routes alone steer.

        Of these every stream follows the model's routes and names none of its versions' targets.
        """
        route_only_clients, others = set[Caller](), set[Caller]()
        for connection in self._connections:
            stream = connection.stream
            follows = model in self._tracker.models_of(stream) or stream.names_model(model)
            by_routes = follows and not stream.names_version(model)
            (route_only_clients if by_routes else others).add(stream.node.caller)
        return frozenset(route_only_clients - others)

    def version_clients(self, model: str) -> frozenset[Caller]:
        """Return the clients that dial a version of a model by the version's own target."""
        streams = (connection.stream for connection in self._connections)
        return frozenset(stream.node.caller for stream in streams if stream.names_version(model))

    def _view(self, stream: Stream) -> SubscriberView:
        refusals = tuple((str(kind), each.refusal) for kind, each in stream.subscriptions.items() if each.refusal)
        return SubscriberView(
            node=stream.node.id,
            agent=stream.node.agent,
            delta=isinstance(stream, DeltaStream),
            models=tuple(sorted(self._tracker.models_of(stream))),
            stale=self._tracker.is_stale(stream),
            refusals=refusals,
        )

    def _others(self, model: str) -> list[ModelResources]:
        return [each for name, each in self._snapshot.models.items() if name != model]

    def _need_open(self) -> None:
        if not self._opened.is_set():
            raise RuntimeError("the publisher was not opened with the recovered state")

    def _replace(self, new: Snapshot) -> None:
        changed = snapshots.diff(self._snapshot, new)
        self._snapshot = new
        self._encoder.clear()
        for connection in self._connections:
            if connection.stream.replace_snapshot(new, changed):
                connection.wake()

    def _account(self, stream: Stream, reply: StreamReply) -> None:
        now_s = self._clock()
        if reply.names_changed:
            self._tracker.on_subscribed(stream, now_s)
        if reply.answer is ReplyKind.ACKNOWLEDGED:
            self._acks[reply.type] += 1
            self._tracker.on_accepted(stream, reply, now_s)
            if reply.type is ResourceType.EXTENSION:
                self._clients.look()
        elif reply.answer is ReplyKind.REFUSED:
            self._nacks[reply.type] += 1
            self._report_refusal(stream, reply)
        self._tell()

    def _report_refusal(self, stream: Stream, reply: StreamReply) -> None:
        refusals = self._tracker.on_refused(stream, reply, self._snapshot)
        for each in refusals:
            self._tracker.retain_refusal(stream, each)
        if refusals:
            self._weigh_refusals()
        else:
            self._observer.nack_recorded(nack(stream, reply))

    def _weigh_refusals(self) -> None:
        """Look at who refuses, and who of a model's subscribers has traffic.

        One with traffic is heeded. One without is left out where others have some; where nobody has, the rollout has to wait, as nobody
        knows better.
        """
        self._weighed_s = self._clock()
        held: dict[str, tuple[Refusal, ...]] = {}
        for model, refusals in self._tracker.standing_refusals().items():
            busy = self._busy(model, self._tracker.callers(model))
            heeded = [each for each in refusals if each.caller in busy.callers]
            for each in heeded:
                self._tracker.withdraw_refusal(each, stale=False)
                self._observer.routes_refused(each)
            idle = [each for each in refusals if each.caller not in busy.callers]
            if not busy.callers and not busy.others:
                held[model] = tuple(idle)
                continue
            for each in idle:
                self._tracker.withdraw_refusal(each, stale=True)
                self._observer.subscriber_left_out(each)
        for model in self._held.keys() | held.keys():
            if self._held.get(model, ()) != held.get(model, ()):
                epoch = self._snapshot.epoch_of(model)
                self._observer.routes_held(model, 0 if epoch is None else epoch, held.get(model, ()))
        self._held = held

    def _tell(self) -> None:
        if not self._tracker.has_news:
            return
        for model, count in self._tracker.take_counts():
            self._observer.subscribers_changed(model, count)
        for each in self._tracker.take_acknowledged():
            self._observer.routes_acknowledged(each.model, each.epoch, each.acknowledged, each.subscribers, each.stale)
