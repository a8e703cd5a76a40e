"""Transcripts of the protocol: requests and publications as lines in, responses and reports as lines out.

A line ``> ...`` is an input, the lines under it are what came of it. ``m`` stands for ``models/m``, ``m/v1`` for
``models/m/versions/v1``; a route shows its weights, endpoints show their ports (``!`` = unhealthy)::

    > publish m e2 v1=950000@7001 v2=50000@7002,7003   weight@ports; ``v1=-@7001``: not routed
    > remove m
    > connect a            a state-of-the-world stream; ``connect a delta``; ``connect a envoy``; ``connect a gateway``
    > a cds m/v1 m/v2      a request without a nonce; ``nonce=3``, ``error=text`` add these
    > a ack cds            answers the last response with the last names; with names: and changes them
    > a nack cds text
    > a sub cds m/v1 m/v2  other names, with the last nonce; ``sub cds none``: no name
    > a cds +m/v1 -m/v2    delta: subscribe and unsubscribe; ``known=m/v1:current`` or ``:old`` brings a version along
    > busy a b              these alone have confirmed requests; ``busy nobody``. Without such a line everybody has
    > tick 10
    > leave a
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.route.v3 import route_pb2

from echoplaned.core.routes_view import ClusterView, ModelRoutes, RouteEndpoint
from echoplaned.ports.traffic import Busy, Caller
from echoplaned.xds.door.listener import DoorOptions, build_door_listener
from echoplaned.xds.names import ResourceType, parse_name
from echoplaned.xds.publisher import Connection, Publisher
from echoplaned.xds.resources import Resource
from echoplaned.xds.stream import StreamNode
from echoplaned.xds.stream_delta import DeltaRequest
from echoplaned.xds.stream_sotw import SotwRequest
from echoplaned.xds.subscriptions import Push
from tests.xds import xds_harness as h

TYPES = {
    "cds": ResourceType.CLUSTER,
    "eds": ResourceType.ENDPOINT,
    "lds": ResourceType.LISTENER,
    "rds": ResourceType.ROUTE,
}
SHORT = {kind: name.upper() for name, kind in TYPES.items()}


@dataclass
class _Peer:
    """One connected client: the last names it sent and the last nonce it got, by type."""

    connection: Connection
    delta: bool
    names: dict[ResourceType, tuple[str, ...]] = field(default_factory=dict)
    nonces: dict[ResourceType, str] = field(default_factory=dict)


class Player:
    """A publisher without gRPC, driven by lines."""

    def __init__(self) -> None:
        self.clock = h.FakeClock()
        self.observer = h.Recorder()
        self.publisher = Publisher(self.observer, self.clock, busy=self._busy)
        self.busy: set[str] | None = None
        self.peers: dict[str, _Peer] = {}

    def play(self, line: str) -> list[str]:
        """Apply one input; return what came of it."""
        verb, *words = line.split()
        if verb == "open":
            self.publisher.open({each.model: each for each in map(_routes, _groups(words))})
        elif verb == "publish":
            timeouts = [float(word.removeprefix("timeout=")) for word in words if word.startswith("timeout=")]
            words = [word for word in words if not word.startswith("timeout=")]
            self.publisher.publish_model(_routes(words), *timeouts)
        elif verb == "remove":
            self.publisher.remove_model(words[0])
        elif verb == "connect":
            self._connect(words[0], words[1] if len(words) > 1 else "")
        elif verb == "leave":
            self.peers.pop(words[0]).connection.close()
        elif verb == "busy":
            self.busy = set(words)
        elif verb == "tick":
            self.clock.now_s += float(words[0])
            self.publisher.expire()
        else:
            self._request(self.peers[verb], words)
        return self._outcome()

    def _busy(self, _model: str, callers: Collection[Caller]) -> Busy:
        return Busy(frozenset(each for each in callers if self.busy is None or each.node in self.busy))

    def _connect(self, name: str, kind: str) -> None:
        listener = build_door_listener(DoorOptions("127.0.0.1", 8080)) if kind == "gateway" else None
        agent = "envoy" if kind in ("envoy", "gateway") else "gRPC"
        node = StreamNode(name, agent, api_listeners=agent != "envoy", listener=listener)
        connection = self.publisher.attach(node, lambda: None, delta=kind == "delta")
        self.peers[name] = _Peer(connection, kind == "delta")

    def _request(self, peer: _Peer, words: list[str]) -> None:
        options = dict(word.split("=", 1) for word in words if "=" in word)
        words = [word for word in words if "=" not in word]
        nonce, error = options.get("nonce", ""), options.get("error")
        if words[0] in ("ack", "nack", "sub"):
            verb, short, *rest = words
            nonce = peer.nonces[TYPES[short]]
            if verb == "nack":
                error, rest = " ".join(rest), []
            words = [short, *rest]
        kind = TYPES[words[0]]
        if peer.delta:
            peer.connection.receive(self._delta_request(peer, kind, words[1:], options, nonce, error))
            return
        if len(words) > 1 or kind not in peer.names or "only" in options:
            peer.names[kind] = tuple(_long(word) for word in words[1:] if word != "none")
        peer.connection.receive(SotwRequest(kind, peer.names[kind], nonce, error))

    def _delta_request(  # noqa: PLR0917 - a test's helper
        self, peer: _Peer, kind: ResourceType, words: list[str], options: dict[str, str], nonce: str, error: str | None
    ) -> DeltaRequest:
        known: dict[str, str] = {}
        for each in options.get("known", "").split(","):
            name, _, which = each.partition(":")
            served = peer.connection.stream.find_served(kind, _long(name)) if name else None
            if name:
                known[_long(name)] = served.version if served and which == "current" else which
        return DeltaRequest(
            kind,
            subscribe=tuple(_long(word[1:]) for word in words if word[0] == "+"),
            unsubscribe=tuple(_long(word[1:]) for word in words if word[0] == "-"),
            known=known,
            nonce=nonce,
            error=error,
        )

    def _outcome(self) -> list[str]:
        lines: list[str] = []
        for name, peer in self.peers.items():
            for push in peer.connection.stream.pushes():
                peer.nonces[push.type] = push.nonce
                lines.append(f"{name} {_show(push)}")
        lines += self.observer.lines
        self.observer.lines = []
        return lines or ["nothing"]


def _groups(words: list[str]) -> list[list[str]]:
    """Split ``m e1 v1=... n e1 v1=...`` at the words without a digit-led option."""
    groups: list[list[str]] = []
    for word in words:
        if "=" not in word and not (groups and len(groups[-1]) == 1):
            groups.append([])
        groups[-1].append(word)
    return groups


def _routes(words: list[str]) -> ModelRoutes:
    model, epoch, *rest = words
    clusters: list[ClusterView] = []
    for word in rest:
        version, _, spec = word.partition("=")
        weight, _, ports = spec.partition("@")
        endpoints = tuple(
            RouteEndpoint(f"127.0.0.1:{port.rstrip('!')}", healthy=not port.endswith("!"))
            for port in ports.split(",")
            if port
        )
        routed = weight != "-"
        clusters.append(ClusterView(version, int(weight) if routed else 0, endpoints, routed=routed))
    return ModelRoutes(model, int(epoch[1:]), tuple(clusters))


def _long(word: str) -> str:
    if word in ("*", "echoplane-gateway", "echoplane-door"):
        return word
    model, slash, version = word.partition("/")
    return f"models/{model}/versions/{version}" if slash else f"models/{model}"


def _brief(name: str) -> str:
    target = parse_name(name)
    if target is None:
        return name
    return f"{target.model}/{target.version}" if target.version else target.model


def _show(push: Push) -> str:
    parts = [_content(each) for each in push.resources] + [f"-{_brief(name)}" for name in push.removed]
    return f"{SHORT[push.type]} #{push.nonce}: {' '.join(parts) or 'empty'}"


def _content(resource: Resource) -> str:
    brief = _brief(resource.name)
    if resource.type is ResourceType.ENDPOINT:
        assignment = endpoint_pb2.ClusterLoadAssignment.FromString(resource.payload)
        ports = [
            f"{each.endpoint.address.socket_address.port_value}{'!' if each.health_status == 2 else ''}"
            for locality in assignment.endpoints
            for each in locality.lb_endpoints
        ]
        return f"{brief}[{' '.join(ports)}]"
    if resource.type is ResourceType.ROUTE:
        config = route_pb2.RouteConfiguration.FromString(resource.payload)
        weights = [
            f"{_brief(each.name)}={each.weight.value}"
            for route in config.virtual_hosts[0].routes
            for each in route.route.weighted_clusters.clusters
        ]
        return f"{brief}({' '.join(weights)})"
    return brief
