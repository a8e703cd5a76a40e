"""The delta protocol of ADS, as a stream.

Requests change the subscription, responses hold what changed and name what is gone.

https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol#incremental-xds
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from echoplaned.xds.names import ResourceType
from echoplaned.xds.resources import Resource
from echoplaned.xds.stream import ReplyKind, Stream, StreamReply
from echoplaned.xds.subscriptions import Push, Subscription


@dataclass(frozen=True, slots=True)
class DeltaRequest:
    """One DeltaDiscoveryRequest.

    Attributes:
        type: the resource type.
        subscribe: names that the client asks for from now on.
        unsubscribe: names that it asks for no more.
        known: versions by name that the client brings along from an earlier stream; counted with the first request alone.
        nonce: nonce of the response that it answers; empty: it answers none.
        error: the detail of a NACK; None: it refuses nothing.
    """

    type: ResourceType
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    known: Mapping[str, str] = field(default_factory=dict)
    nonce: str = ""
    error: str | None = None


class DeltaStream(Stream):
    """A stream of DeltaAggregatedResources."""

    retains_named = False

    def max_name_count(self, request: DeltaRequest) -> int:
        """Return to how many names a request can subscribe the client at most."""
        return self.name_count + len(request.subscribe)

    def receive(self, request: DeltaRequest) -> StreamReply:
        """Take a request in.

        A stale nonce acknowledges nothing, but its changes of the subscription still count.
        """
        subscription = self.subscriptions[request.type]
        first = not subscription.requested
        if first or not request.nonce or request.subscribe or request.unsubscribe:
            changed = subscription.change_names(request.subscribe, request.unsubscribe)
            if request.type is ResourceType.ROUTE:
                self._release()
        else:
            changed = False
        if first:
            subscription.adopt(self._brought(request))
        if not request.nonce:
            return StreamReply(ReplyKind.SUBSCRIBED, request.type, changed)
        push = subscription.in_flight
        if push is None or request.nonce != push.nonce:
            return StreamReply(ReplyKind.STALE, request.type, changed)
        before = {name: subscription.acknowledged.get(name) for name in push.knowledge}
        if request.error is not None:
            subscription.refuse(request.error)
            return StreamReply(ReplyKind.REFUSED, request.type, changed, push, before, request.error)
        subscription.acknowledge()
        if request.type is ResourceType.ROUTE:
            self._release()
        return StreamReply(ReplyKind.ACKNOWLEDGED, request.type, changed, push, before)

    def _brought(self, request: DeltaRequest) -> list[Resource]:
        brought: list[Resource] = []
        for name, version in request.known.items():
            current = self.find_served(request.type, name)
            if current is not None and current.version == version:
                brought.append(current)
            else:
                brought.append(Resource.unknown(request.type, name, version))
        return brought

    def _due(self, subscription: Subscription) -> Push | None:
        """Return what changed and what is gone, or None if nothing did.

        A name that was asked for and is not there counts as gone.

        A first wildcard is answered, be it empty.
        """
        knowledge: dict[str, Resource | None] = {}
        suspects = subscription.take_suspects()
        targets = self._targets(subscription) if suspects is None else suspects
        for name in targets:
            if suspects is not None and not self._is_target(subscription, name):
                continue
            resource = self.find_served(subscription.type, name)
            if subscription.is_outdated(name, resource) and not self._is_held(resource):
                knowledge[name] = resource
        if not knowledge and (subscription.answered or not subscription.wildcard):
            return None
        if knowledge:
            knowledge.update(self._refused(subscription, knowledge.keys()))
        names = sorted(knowledge)
        resources = tuple(each for name in names if (each := knowledge[name]) is not None)
        removed = tuple(name for name in names if knowledge[name] is None)
        return Push(subscription.type, self._next_nonce(), resources, removed, knowledge)
