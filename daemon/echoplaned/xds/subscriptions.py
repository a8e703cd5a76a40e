"""One stream's subscription to one resource type.

It knows what was subscribed, what was sent, and what was acknowledged.

https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol#how-the-client-specifies-what-resources-to-return
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from echoplaned.xds.names import ResourceType
from echoplaned.xds.resources import Resource

WILDCARD = "*"
SPARE_SUSPECTS = 100
"""So many names more than a subscription has are remembered as suspects; beyond these, all of its names are looked at."""


@dataclass(frozen=True, slots=True, eq=False)
class Push:
    """One response of one type.

    Attributes:
        type: the resource type.
        nonce: the response's nonce, which counts the stream's pushes.
        resources: the resources that it carries.
        removed: names that it says are gone; empty in state of the world, where a complete response says it by leaving them out.
        knowledge: what a client that accepts it knows of every name it speaks of; None for a name that is gone.
    """

    type: ResourceType
    nonce: str
    resources: tuple[Resource, ...]
    removed: tuple[str, ...]
    knowledge: Mapping[str, Resource | None]


@dataclass(frozen=True, slots=True)
class RoutedClusters:
    """The clusters that a client's routes name.

    Attributes:
        names: names of the clusters.
        any: whether there may be others: a route that only the client knows may name any.
    """

    names: frozenset[str]
    any: bool = False


@dataclass(slots=True)
class Subscription:
    """One type of one stream: what it wants, was sent and has accepted.

    None as a resource means: the client was told that there is none. At most one push is in flight.

    Attributes:
        type: the resource type.
        names: names that the client asked for, without the wildcard.
        listed: names as the last state-of-the-world request listed them, the wildcard included; empty in delta.
        wildcard: whether the client wants all resources of the type.
        ever_named: whether a state-of-the-world request has named anything; from then on an empty list does not mean all.
        answered: whether anything was pushed yet.
        requested: whether any request came yet.
        sent: what the client would know had it accepted everything; a refused resource stays in it, and that parks it until the
            snapshot holds something else.
        acknowledged: what the client did accept, by name.
        uncertain: names whose change was sent and not accepted; of a refused response a client may have taken the valid part.
        dirty: whether something may be due; what is not dirty need not be looked at.
        suspects: names of which something may be due, unless all are to be looked at.
        look_at_all: whether every name is to be looked at: at first, and where the wildcard came or went.
        present: names under which ``sent`` or ``acknowledged`` may hold a resource; of the others both hold nothing but None.
        routed: the clusters that routes among them name; None: they have to be read again.
        in_flight: the push that is not answered yet; None: there is none.
        last_nonce: nonce of the newest push; empty before the first one.
        refusal: the client's reason where it refused the newest push that it answered; else empty.
    """

    type: ResourceType
    names: set[str] = field(default_factory=set)
    listed: tuple[str, ...] = ()
    wildcard: bool = False
    ever_named: bool = False
    answered: bool = False
    requested: bool = False
    sent: dict[str, Resource | None] = field(default_factory=dict)
    acknowledged: dict[str, Resource | None] = field(default_factory=dict)
    uncertain: set[str] = field(default_factory=set)
    dirty: bool = True
    suspects: set[str] = field(default_factory=set)
    look_at_all: bool = True
    present: set[str] = field(default_factory=set)
    routed: RoutedClusters | None = None
    in_flight: Push | None = None
    last_nonce: str = ""
    refusal: str = ""

    def replace_names(self, names: tuple[str, ...]) -> bool:
        """Take over the complete list of names of a state-of-the-world request.

        Returns whether anything changed.

        An empty list means everything only while the stream has never named a resource of the type.
        """
        if self.requested and names == self.listed:
            return False  # as in nearly every acknowledgement
        before = (self.wildcard, set(self.names))
        self.requested = True
        self.listed = names
        if names:
            self.ever_named = True
        self.wildcard = self._may_be_wildcard and (WILDCARD in names if self.ever_named else True)
        self.names = set(names) - {WILDCARD}
        if before == (self.wildcard, self.names):
            return False
        self._drop_unsubscribed()
        self.dirty = True
        return True

    def change_names(self, subscribe: Collection[str], unsubscribe: Collection[str]) -> bool:
        """Apply the changes of a delta request; return whether anything changed.

        A name that is subscribed again is sent again. So is a name that is unsubscribed under a wildcard, because the
        client cannot tell whether the wildcard still holds it.
        """
        # No copy of the names, and no look at all of them: a request for one of 20,000 costs one.
        wildcard, changed = self.wildcard, False
        if not self.requested and not subscribe:
            self.wildcard = self._may_be_wildcard
        self.requested = True
        if WILDCARD in subscribe:
            self.wildcard = self._may_be_wildcard
        if WILDCARD in unsubscribe:
            self.wildcard = False
        if wildcard != self.wildcard:
            changed = self.look_at_all = True
        # Of what is in both, the subscription counts: nothing of it changed.
        for name in set(unsubscribe).difference(subscribe):
            changed |= name in self.names
            self.names.discard(name)
            self.drop(name)
        for name in subscribe:
            if name != WILDCARD:
                changed |= name not in self.names
                self.names.add(name)
                self.drop(name)
        if wildcard:
            self._drop_unsubscribed()
        self.dirty = True
        return changed

    def wants(self, name: str) -> bool:
        """Return whether the client subscribed to the name."""
        return self.wildcard or name in self.names

    def is_concerned(self, changed: frozenset[str]) -> bool:
        """Return whether one of the changed names is subscribed."""
        return bool(changed) and (self.wildcard or not self.names.isdisjoint(changed))

    def is_outdated(self, name: str, resource: Resource | None) -> bool:
        """Return whether the client was last told something else of the name."""
        if name not in self.sent:
            return True
        sent = self.sent[name]
        if sent is None or resource is None:
            return sent is not resource
        return sent.version != resource.version

    def holds(self, name: str) -> bool:
        """Return whether the client has the name in some version.

        It must not have been told since that the name is gone.
        """
        return self.acknowledged.get(name) is not None and self.sent.get(name) is not None

    def is_coming(self, name: str, resource: Resource | None) -> bool:
        """Return whether a name that the client lacks is due or on its way."""
        if resource is None or not self.wants(name):
            return False
        flying = self.in_flight is not None and name in self.in_flight.knowledge
        return flying or self.is_outdated(name, resource)

    def is_accepted(self, resource: Resource) -> bool:
        """Return whether the client is known to use exactly this resource."""
        held = self.acknowledged.get(resource.name)
        same = held is resource or (held is not None and held.version == resource.version)
        return same and resource.name not in self.uncertain

    def is_absence_accepted(self, name: str) -> bool:
        """Return whether the client has accepted that a name is gone.

        It asked for the name, and is known to hold nothing under it.
        """
        return name in self.acknowledged and self.acknowledged[name] is None and name not in self.uncertain

    def look_again(self, names: Iterable[str]) -> None:
        """Note that something may be due of these names."""
        self.dirty = True
        if not self.look_at_all:
            self.suspects.update(names)
            # A client that answers nothing may subscribe to other names for ever.
            if len(self.suspects) > len(self.names) + len(self.sent) + SPARE_SUSPECTS:
                self.look_at_all = True
                self.suspects.clear()

    def take_suspects(self) -> set[str] | None:
        """Return the names that are to be looked at, for the caller to do so; None: all."""
        suspects, self.suspects = self.suspects, set()
        look_at_all, self.look_at_all = self.look_at_all, False
        return None if look_at_all else suspects

    def routes_to(self, cluster: str) -> bool:
        """Return whether a route that the client has, or was sent, may name a cluster."""
        routed = self._read_routed()
        return routed.any or cluster in routed.names

    def unrouted(self, clusters: AbstractSet[str]) -> AbstractSet[str]:
        """Return those of the clusters that no such route names."""
        routed = self._read_routed()
        return frozenset() if routed.any else clusters - routed.names

    @property
    def may_push(self) -> bool:
        """Whether something may be due, and may be sent now."""
        return self.dirty and self.requested and self.in_flight is None

    def begin(self, push: Push) -> None:
        """Note that a push left."""
        self.in_flight = push
        self.last_nonce = push.nonce
        self.answered = True
        self.uncertain.update(name for name, resource in push.knowledge.items() if self.is_outdated(name, resource))
        self.sent.update(push.knowledge)
        self.present.update(name for name, resource in push.knowledge.items() if resource is not None)
        self.routed = None

    def acknowledge(self) -> Push | None:
        """Note that the push in flight was accepted; return it, or None if there is none."""
        push, self.in_flight = self.in_flight, None
        if push is not None:
            self.refusal = ""
            self.uncertain.difference_update(push.knowledge)
            for name, resource in push.knowledge.items():
                if resource is None and name not in self.names:
                    self.drop(name)  # gone from a wildcard, and nobody asked for it by name
                elif self.wants(name):
                    self.acknowledged[name] = resource
                    if resource is not None:
                        self.present.add(name)  # dropped and asked for again while it was on its way
                    elif self.sent.get(name) is None:
                        self.present.discard(name)
            self.routed = None
        return push

    def refuse(self, detail: str) -> Push | None:
        """Note that the push in flight was refused; return it, or None if there is none."""
        push, self.in_flight = self.in_flight, None
        if push is not None:
            self.refusal = detail
        return push

    def drop(self, name: str) -> None:
        """Forget what the client knows of a name: it is sent again when it is wanted."""
        self.sent.pop(name, None)
        self.acknowledged.pop(name, None)
        self.uncertain.discard(name)
        if name in self.present:
            self.present.remove(name)
            self.routed = None
        self.look_again((name,))

    def adopt(self, known: Iterable[Resource]) -> None:
        """Note what a client brought from an earlier stream."""
        for resource in known:
            if self.wants(resource.name):
                self.sent[resource.name] = resource
                self.acknowledged[resource.name] = resource
                self.present.add(resource.name)
        self.routed = None

    @property
    def _may_be_wildcard(self) -> bool:
        return self.type.complete

    def _read_routed(self) -> RoutedClusters:
        """Return the clusters that routes name, read once after every change of these.

        A client may ask for 20,000 made-up routes and as many made-up clusters: only routes that are there are gone through, and
        not for each cluster.
        """
        if self.routed is None:
            names: set[str] = set()
            for name in self.present:
                for route in (self.sent.get(name), self.acknowledged.get(name)):
                    if route is not None and route.is_unknown:
                        self.routed = RoutedClusters(frozenset(), any=True)
                        return self.routed
                    names.update(route.clusters if route is not None else ())
            self.routed = RoutedClusters(frozenset(names))
        return self.routed

    def _drop_unsubscribed(self) -> None:
        if not self.wildcard:
            for name in self.sent.keys() - self.names:
                self.drop(name)
            for name in self.acknowledged.keys() - self.names:
                self.drop(name)
