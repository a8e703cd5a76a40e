"""One ADS stream: what is due on it, in which order, and what it has.

State of the world and delta share this part.

No gRPC here and no clock: requests come in as values, pushes go out as values. The protocol's wording of requests is in
``stream_sotw`` and ``stream_delta``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import Enum, auto
from typing import ClassVar, Final

from echoplaned.core.names import model_name, version_name
from echoplaned.ports.traffic import Caller
from echoplaned.xds.names import DOOR_ROUTES, TABLES, ResourceType, parse_name
from echoplaned.xds.observer import MAX_NODE_CHARACTERS
from echoplaned.xds.resources import Resource
from echoplaned.xds.snapshot import Snapshot, SnapshotDiff
from echoplaned.xds.subscriptions import Push, Subscription

RETAINED: Final = (ResourceType.CLUSTER, ResourceType.ENDPOINT)
"""Types whose resources a stream keeps while its client has a route to them."""


class ReplyKind(Enum):
    """What a client's request did: subscribe, accept, refuse, or nothing."""

    SUBSCRIBED = auto()
    ACKNOWLEDGED = auto()
    REFUSED = auto()
    STALE = auto()


@dataclass(frozen=True, slots=True)
class StreamReply:
    """What came of a client's request.

    Attributes:
        answer: whether it acknowledged, refused, only subscribed, or was stale.
        type: the resource type that it was about.
        names_changed: whether the client subscribed to other names than before.
        push: the push that it answers; None: it answers none.
        before: what the client had acknowledged of the push's names until then; None: it answers none.
        detail: the client's reason for refusing; empty unless it refused.
    """

    answer: ReplyKind
    type: ResourceType
    names_changed: bool
    push: Push | None = None
    before: Mapping[str, Resource | None] | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class StreamNode:
    """The client at the other end of a stream.

    Attributes:
        id: id of its node, or its peer's address where it gave none.
        agent: its ``user_agent_name``; may be empty.
        api_listeners: whether it takes the listeners that gRPC clients dial; Envoy does not.
        listener: the front door's, for the gateway that the daemon runs itself; with it goes that gateway's route table.
        peer: address of its connection's other end.
    """

    id: str
    agent: str = ""
    api_listeners: bool = True
    listener: Resource | None = None
    peer: str = ""

    @property
    def caller(self) -> Caller:
        """The client's identity, as far as it can be told from others."""
        return Caller(self.id[:MAX_NODE_CHARACTERS], self.peer)


class Stream(ABC):
    """The state of one stream."""

    retains_named: ClassVar[bool]
    """Whether a cluster that the client names is kept until it does so no more."""

    def __init__(self, snapshot: Snapshot, node: StreamNode) -> None:
        self.node = node
        self.snapshot = snapshot
        self.subscriptions = {kind: Subscription(kind) for kind in ResourceType}
        self._in_order = tuple(self.subscriptions.values())
        self._nonces = 0
        self._retained: dict[ResourceType, set[str]] = {kind: set() for kind in RETAINED}

    def replace_snapshot(self, snapshot: Snapshot, changed: SnapshotDiff) -> bool:
        """Serve another snapshot from now on; return whether something may be due."""
        self.snapshot = snapshot
        for subscription in self._in_order:
            names = changed.changed[subscription.type]
            if subscription.is_concerned(names):
                subscription.look_again(names if subscription.wildcard else names & subscription.names)
        return self.may_push

    @property
    def may_push(self) -> bool:
        """Whether something may be due, and may be sent now."""
        for each in self._in_order:  # noqa: SIM110 - no generator: this runs several times a push, on every stream
            if each.may_push:
                return True
        return False

    def pushes(self) -> list[Push]:
        """Take what is due now, in the order in which it must be sent.

        It is one push a type at most, and none for a type with one in flight.
        """
        taken: list[Push] = []
        for subscription in self._in_order:
            if not subscription.may_push:
                continue
            subscription.dirty = False
            push = self._due(subscription)
            if push is not None:
                if subscription.type is ResourceType.CLUSTER:
                    self._send_endpoints_again(push)
                subscription.begin(push)
                taken.append(push)
        return taken

    def find_served(self, kind: ResourceType, name: str) -> Resource | None:
        """Return what this stream is served under a name.

        A cluster that the snapshot lost is kept, with its endpoints, until the stream has accepted routes without it; and
        for a client that names the clusters it wants, until it names it no more.
        """
        found = self.snapshot.get(kind, name)
        if kind is ResourceType.LISTENER:
            own = self.node.listener
            return own if own is not None and own.name == name else (found if self.node.api_listeners else None)
        if kind is ResourceType.ROUTE:
            return found if self._is_allowed(name) else None
        if kind is ResourceType.EXTENSION:
            # Callers' keys are in there: for the one peer that has a socket of its own, whatever others ask for.
            return found if self.node.listener is not None else None
        if found is None:
            subscription = self.subscriptions[kind]
            sent = subscription.sent.get(name)
            # Looked up before its routes are: most of the names that nobody publishes were never sent.
            if sent is not None and (
                (self.retains_named and name in subscription.names)
                or self.subscriptions[ResourceType.ROUTE].routes_to(name)
            ):
                self._retained[kind].add(name)
                return sent
        return found

    def has_routes(self, model: str) -> bool:
        """Return whether the client has the snapshot's routes of a model.

        That is as far as it subscribed to the model.

        It has them when it accepted the route configuration and, of every cluster that the route names, the cluster and
        its endpoints; a gateway's route names those for OpenAI's API too. It has accepted that a model is gone when it
        holds neither its listener nor its gateway entry.
        """
        wanted = self.snapshot.route_of(model)
        if wanted is None:
            return self._accepted_absence(model)
        name = model_name(model)
        routes = self.subscriptions[ResourceType.ROUTE]
        tables = self._tables()
        by_name = name in routes.names or name in self.subscriptions[ResourceType.LISTENER].names
        if by_name and not self._accepted(wanted):
            return False
        if not all(self._accepted_entry(table, model) for table in tables):
            return False
        openai = self.snapshot.models[model].openai_clusters if tables else ()
        return self._accepted_clusters((*wanted.clusters, *openai))

    def models(self, published: Collection[str]) -> set[str]:
        """Return those of the published models whose own target the client named.

        The gateway's subscribers follow every model besides. Whichever is less is gone through: the names, or the models.
        """
        if len(published) < self.name_count:
            return {model for model in published if self.names_model(model)}
        targets = (
            parse_name(name)
            for kind in (ResourceType.LISTENER, ResourceType.ROUTE)
            for name in self.subscriptions[kind].names
        )
        return {each.model for each in targets if each is not None and not each.version and each.model in published}

    def names_model(self, model: str) -> bool:
        """Whether the client named the model's own target."""
        name = model_name(model)
        return any(name in self.subscriptions[kind].names for kind in (ResourceType.LISTENER, ResourceType.ROUTE))

    def names_version(self, model: str) -> bool:
        """Whether the client dials a version of the model by the version's own target."""
        start = version_name(model, "")
        return any(
            name.startswith(start)
            for kind in (ResourceType.LISTENER, ResourceType.ROUTE)
            for name in self.subscriptions[kind].names
        )

    @property
    def name_count(self) -> int:
        """Names that the client is subscribed to, of all types."""
        return sum(len(each.names) for each in self._in_order)

    @property
    def is_gateway(self) -> bool:
        """Whether the client follows every model by the gateway's route table."""
        return bool(self._tables())

    def _tables(self) -> list[str]:
        """Return the tables of every model that the client asked for."""
        return [
            name for name in TABLES if self._is_allowed(name) and self.subscriptions[ResourceType.ROUTE].wants(name)
        ]

    def _is_allowed(self, table: str) -> bool:
        return table != DOOR_ROUTES or self.node.listener is not None

    @abstractmethod
    def _due(self, subscription: Subscription) -> Push | None:
        """Return the push that the subscription needs now, or None."""

    def _targets(self, subscription: Subscription) -> set[str]:
        """Return every name that the client must be told of."""
        if not subscription.wildcard:
            return subscription.names
        names = set(subscription.names)
        if subscription.type is ResourceType.CLUSTER:
            names |= self.snapshot.by_type[subscription.type].keys()
            names |= {name for name, each in subscription.sent.items() if each is not None}
            return names
        if self.node.api_listeners:
            names |= self.snapshot.by_type[subscription.type].keys()
            names |= {name for name, each in subscription.sent.items() if each is not None}
        if self.node.listener is not None:
            names.add(self.node.listener.name)
        return names

    def _is_target(self, subscription: Subscription, name: str) -> bool:
        """Return whether a name is among ``_targets``."""
        if name in subscription.names or not subscription.wildcard:
            return name in subscription.names
        if subscription.type is ResourceType.CLUSTER or self.node.api_listeners:
            return name in self.snapshot.by_type[subscription.type] or subscription.sent.get(name) is not None
        return self.node.listener is not None and name == self.node.listener.name

    def _is_held(self, resource: Resource | None) -> bool:
        """Return whether a route must wait for one of its clusters.

        It waits because a cluster that it brings is still on its way to this client.

        Only clusters that the client subscribed to already: a gRPC client asks for a cluster after the route named it.
        """
        if resource is None or resource.type is not ResourceType.ROUTE:
            return False
        for each in (self.subscriptions[ResourceType.CLUSTER], self.subscriptions[ResourceType.ENDPOINT]):
            for cluster in resource.clusters:
                if not each.holds(cluster) and each.is_coming(cluster, self.find_served(each.type, cluster)):
                    self.subscriptions[ResourceType.ROUTE].look_again((resource.name,))  # with every answer
                    return True
        return False

    def _release(self) -> None:
        """Look again at the clusters that were kept for the sake of a route.

        To be called where the client's routes have changed.
        """
        for kind, retained in self._retained.items():
            if retained and (over := self.subscriptions[ResourceType.ROUTE].unrouted(retained)):
                self.subscriptions[kind].look_again(over)
                self._retained[kind] = retained - over

    def _refused(self, subscription: Subscription, but: AbstractSet[str]) -> dict[str, Resource | None]:
        """Return what is served of the names that were refused, but for these.

        It goes along with the next change.

        By itself it is never sent again, or the two sides would go round in a circle.
        """
        if not subscription.uncertain:
            return {}
        found = {name: self.find_served(subscription.type, name) for name in subscription.uncertain - but}
        return {name: each for name, each in found.items() if not self._is_held(each)}

    def _next_nonce(self) -> str:
        self._nonces += 1
        return str(self._nonces)

    def _send_endpoints_again(self, push: Push) -> None:
        """Mark the endpoints of changed clusters to be sent again.

        Envoy warms a changed cluster until it is sent its endpoints.

        https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol#resource-warming
        """
        clusters = self.subscriptions[ResourceType.CLUSTER]
        endpoints = self.subscriptions[ResourceType.ENDPOINT]
        for name, resource in push.knowledge.items():
            if clusters.is_outdated(name, resource):
                endpoints.drop(name)

    def _accepted(self, resource: Resource) -> bool:
        return self.subscriptions[resource.type].is_accepted(resource)

    def _accepted_clusters(self, names: tuple[str, ...]) -> bool:
        for kind in (ResourceType.CLUSTER, ResourceType.ENDPOINT):
            served, subscription = self.snapshot.by_type[kind], self.subscriptions[kind]
            for name in names:
                resource = served.get(name)
                if resource is None or not subscription.is_accepted(resource):
                    return False
        return True

    def _accepted_entry(self, name: str, model: str) -> bool:
        table = self.find_served(ResourceType.ROUTE, name)
        routes = self.subscriptions[ResourceType.ROUTE]
        held = routes.acknowledged.get(name)
        if table is None or held is None:
            return False
        if name in routes.uncertain and _part(routes.sent.get(name), model) != _part(held, model):
            return False
        return _part(held, model) == _part(table, model)

    def _accepted_absence(self, model: str) -> bool:
        name = model_name(model)
        listeners = self.subscriptions[ResourceType.LISTENER]
        if name in listeners.names and not listeners.is_absence_accepted(name):
            return False
        held = (self.subscriptions[ResourceType.ROUTE].acknowledged.get(table) for table in TABLES)
        return all(each is None or model not in each.parts for each in held)


def _part(table: Resource | None, model: str) -> str | None:
    part = table.parts.get(model) if table else None
    return part.digest if part else None
