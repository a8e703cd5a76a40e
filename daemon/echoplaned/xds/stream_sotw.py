"""The state-of-the-world protocol of ADS, as a stream.

Every request names all it wants, a response of listeners or clusters holds all there is.

https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol#basic-protocol-overview
"""

from __future__ import annotations

from dataclasses import dataclass

from echoplaned.xds.names import ResourceType
from echoplaned.xds.resources import Resource
from echoplaned.xds.stream import ReplyKind, Stream, StreamReply
from echoplaned.xds.subscriptions import Push, Subscription


@dataclass(frozen=True, slots=True)
class SotwRequest:
    """One DiscoveryRequest, without its version.

    A client may raise the version even where it refuses, so the error alone says NACK.

    Attributes:
        type: the resource type.
        names: every name that the client asks for; empty: all listeners or clusters, while it has never named one.
        nonce: nonce of the response that it answers; empty: it was sent before any response was seen.
        error: the detail of a NACK; None: it refuses nothing.
    """

    type: ResourceType
    names: tuple[str, ...] = ()
    nonce: str = ""
    error: str | None = None


class SotwStream(Stream):
    """A stream of StreamAggregatedResources."""

    retains_named = True
    # gRPC drops a cluster by itself, when the last request that was routed to it is through.

    def max_name_count(self, request: SotwRequest) -> int:
        """Return to how many names a request can subscribe the client at most.

        A request lists all names of its type, so it takes the place of those before.
        """
        return self.name_count - len(self.subscriptions[request.type].names) + len(request.names)

    def receive(self, request: SotwRequest) -> StreamReply:
        """Take a request in.

        A nonce that is not the last one makes the request stale: the client will answer the newer response with its
        names of that time. A request without a nonce was sent before the client saw any response; its names count.
        """
        subscription = self.subscriptions[request.type]
        if request.nonce and request.nonce != subscription.last_nonce:
            return StreamReply(ReplyKind.STALE, request.type, names_changed=False)
        changed = subscription.replace_names(request.names)
        if changed and request.type is ResourceType.ROUTE:
            self._release()
        if not request.nonce or subscription.in_flight is None:
            return StreamReply(ReplyKind.SUBSCRIBED, request.type, changed)
        push = subscription.in_flight
        before = {name: subscription.acknowledged.get(name) for name in push.knowledge}
        if request.error is not None:
            subscription.refuse(request.error)
            return StreamReply(ReplyKind.REFUSED, request.type, changed, push, before, request.error)
        subscription.acknowledge()
        if request.type is ResourceType.ROUTE:
            self._release()
        return StreamReply(ReplyKind.ACKNOWLEDGED, request.type, changed, push, before)

    def _due(self, subscription: Subscription) -> Push | None:
        if subscription.type.complete:
            return self._complete(subscription)
        return self._partial(subscription)

    def _complete(self, subscription: Subscription) -> Push | None:
        """Return everything that is subscribed, if any of it changed.

        The first request for everything is always answered, be it empty.
        """
        knowledge: dict[str, Resource | None] = {
            name: self.find_served(subscription.type, name) for name in self._targets(subscription)
        }
        changed = any(subscription.is_outdated(name, each) for name, each in knowledge.items())
        if not changed and (subscription.answered or not subscription.wildcard):
            return None
        present = tuple(knowledge[name] for name in sorted(knowledge))
        resources = tuple(each for each in present if each is not None)
        return Push(subscription.type, self._next_nonce(), resources, (), knowledge)

    def _partial(self, subscription: Subscription) -> Push | None:
        """Return only what changed, and what was refused.

        What is left out stays as it is. Absence cannot be expressed.
        """
        changed: dict[str, Resource] = {}
        for name in self._targets(subscription):
            resource = self.find_served(subscription.type, name)
            if resource is not None and subscription.is_outdated(name, resource) and not self._is_held(resource):
                changed[name] = resource
        if not changed:
            return None
        refused = self._refused(subscription, changed.keys())
        changed.update({name: each for name, each in refused.items() if each is not None})
        resources = tuple(changed[name] for name in sorted(changed))
        return Push(subscription.type, self._next_nonce(), resources, (), changed)
