"""A raw subscriber of ADS that does what it is told: acknowledge, refuse, or say nothing."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import grpc
from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_pb2
from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2

from echoplane.channels import DIRECT_OPTIONS
from echoplaned.xds.names import ResourceType

Answer = Callable[["Subscriber", discovery_pb2.DiscoveryResponse], str | None]


def acknowledge(_subscriber: Subscriber, _response: discovery_pb2.DiscoveryResponse) -> str | None:
    """Accept everything."""
    return ""


def ignore(_subscriber: Subscriber, _response: discovery_pb2.DiscoveryResponse) -> str | None:
    """Never answer."""
    return None


@dataclass(slots=True)
class Subscriber:
    """One state-of-the-world stream that follows a model as a gRPC client does: listener, routes, then what these name.

    ``answer``: says of each response "" (accepted), a reason (refused), or None (no answer at all); may be exchanged at any time.
    """

    address: str
    node: str
    model: str
    answer: Answer = acknowledge
    clusters: set[str] = field(default_factory=set)
    accepted: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    received: dict[str, int] = field(default_factory=dict)
    ended: str = ""
    _requests: queue.Queue[discovery_pb2.DiscoveryRequest | None] = field(default_factory=queue.Queue)
    _versions: dict[str, str] = field(default_factory=dict)
    _thread: threading.Thread | None = None
    _channel: grpc.Channel | None = None

    def __enter__(self) -> Self:
        self._channel = grpc.insecure_channel(self.address, DIRECT_OPTIONS)
        call = ads_pb2_grpc.AggregatedDiscoveryServiceStub(self._channel).StreamAggregatedResources(self._outgoing())
        self._thread = threading.Thread(target=self._read, args=(call,), daemon=True)
        self._thread.start()
        for kind in (ResourceType.LISTENER, ResourceType.ROUTE):
            self._ask(kind)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._requests.put(None)
        if self._channel is not None:
            self._channel.close()
        if self._thread is not None:
            self._thread.join(10.0)

    @property
    def channel(self) -> grpc.Channel:
        """Its connection, on which a client sends its load reports too."""
        assert self._channel is not None
        return self._channel

    def _outgoing(self) -> Iterator[discovery_pb2.DiscoveryRequest]:
        node = base_pb2.Node(id=self.node, user_agent_name="gRPC Python")
        while (request := self._requests.get()) is not None:
            request.node.CopyFrom(node)
            yield request

    def _read(self, call: Iterator[discovery_pb2.DiscoveryResponse]) -> None:
        try:
            for response in call:
                self._take(response)
        except grpc.RpcError as error:
            self.ended = str(error)

    def _take(self, response: discovery_pb2.DiscoveryResponse) -> None:
        kind = ResourceType(response.type_url)
        self.received[kind.name] = self.received.get(kind.name, 0) + 1
        verdict = self.answer(self, response)
        if verdict is None:
            return
        if verdict:
            self.refused[kind.name] = self.refused.get(kind.name, 0) + 1
        else:
            self.accepted[kind.name] = self.accepted.get(kind.name, 0) + 1
            self._versions[kind] = response.version_info
        self._ask(kind, response.nonce, verdict)
        if kind is ResourceType.ROUTE and not verdict:
            self._follow(response)

    def _follow(self, response: discovery_pb2.DiscoveryResponse) -> None:
        named = clusters_of(response)
        if named != self.clusters:
            self.clusters = named
            self._ask(ResourceType.CLUSTER)
            self._ask(ResourceType.ENDPOINT)

    def _ask(self, kind: ResourceType, nonce: str = "", verdict: str = "") -> None:
        own = kind in (ResourceType.LISTENER, ResourceType.ROUTE)
        names = [f"models/{self.model}"] if own else sorted(self.clusters)
        request = discovery_pb2.DiscoveryRequest(
            type_url=str(kind), resource_names=names, response_nonce=nonce, version_info=self._versions.get(kind, "")
        )
        if verdict:
            request.error_detail.message = verdict
            request.error_detail.code = grpc.StatusCode.INVALID_ARGUMENT.value[0]
        self._requests.put(request)


def clusters_of(response: discovery_pb2.DiscoveryResponse) -> set[str]:
    """Return the clusters that a response's routes name."""
    found: set[str] = set()
    for resource in response.resources:
        routes = route_pb2.RouteConfiguration()
        if resource.Unpack(routes):
            for host in routes.virtual_hosts:
                for route in host.routes:
                    found.update(cluster.name for cluster in route.route.weighted_clusters.clusters)
    return found
