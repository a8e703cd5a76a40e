"""Whatever the order of publications, deliveries, acknowledgements and refusals: the protocol's promises hold."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from echoplaned.core.routes_view import ModelRoutes
from echoplaned.xds.names import GATEWAY, ResourceType
from echoplaned.xds.resources import Resource
from echoplaned.xds.snapshot import EMPTY, Snapshot, build, diff
from echoplaned.xds.stream import StreamNode
from echoplaned.xds.stream_delta import DeltaRequest, DeltaStream
from echoplaned.xds.stream_sotw import SotwRequest, SotwStream
from echoplaned.xds.subscriptions import Push
from tests.xds import xds_harness as h

CDS, EDS, LDS, _ECDS, RDS = ResourceType
TOTAL = 1_000_000


@dataclass
class SimulatedClient:
    """What the client holds and has under way. ``inbox``: pushes that it has not seen; ``outbox``: requests under way."""

    wildcard: bool
    held: dict[ResourceType, dict[str, Resource]] = field(default_factory=lambda: {kind: {} for kind in ResourceType})
    names: dict[ResourceType, set[str]] = field(default_factory=lambda: {kind: set() for kind in ResourceType})
    nonces: dict[ResourceType, str] = field(default_factory=dict)
    inbox: deque[Push] = field(default_factory=deque)
    outbox: deque[tuple[ResourceType, frozenset[str], str, str | None]] = field(default_factory=deque)
    refused: bool = False

    def start(self) -> None:
        """Subscribe as the kind of client does: Envoy by wildcard, gRPC by the listener's name."""
        if self.wildcard:
            self.ask(CDS, set())
            self.ask(RDS, {GATEWAY})
        else:
            self.ask(LDS, {"models/m"})

    def ask(self, kind: ResourceType, names: set[str], error: str | None = None) -> None:
        """Put a request under way."""
        self.names[kind] = set(names)
        self.outbox.append((kind, frozenset(names), self.nonces.get(kind, ""), error))

    def accept(self, push: Push, *, complete: bool) -> None:
        """Take a push over, acknowledge it, and ask for what follows from it."""
        self.nonces[push.type] = push.nonce
        held = self.held[push.type]
        if complete:
            held.clear()
        everything = self.wildcard and push.type is CDS
        # What was unsubscribed while the push was under way is ignored; subscribed again, it must be sent again.
        held.update((each.name, each) for each in push.resources if everything or each.name in self.names[push.type])
        for name in push.removed:
            held.pop(name, None)
        self._follow(push.type)
        self.ask(push.type, self.names[push.type])

    def refuse(self, push: Push) -> None:
        """Keep what there was."""
        self.refused = True
        self.nonces[push.type] = push.nonce
        self.ask(push.type, self.names[push.type], "no")

    def _follow(self, kind: ResourceType) -> None:
        wanted: dict[ResourceType, set[str]] = {}
        if not self.wildcard:
            wanted[RDS] = set(self.held[LDS])
            wanted[CDS] = {name for route in self.held[RDS].values() for name in route.clusters}
            for gone in self.held[RDS].keys() - wanted[RDS]:
                del self.held[RDS][gone]
        wanted[EDS] = set(self.held[CDS])
        for follower, names in wanted.items():
            if follower is not kind and names != self.names[follower]:
                for gone in self.held[follower].keys() - names:
                    del self.held[follower][gone]
                self.ask(follower, names)


def _routes(versions: tuple[str, ...], port: int, epoch: int = 0) -> ModelRoutes:
    weights = [TOTAL - (len(versions) - 1) * 10, *([10] * (len(versions) - 1))]
    clusters = {each: (weight, [f"127.0.0.1:{port}"]) for each, weight in zip(versions, weights, strict=False)}
    return h.routes("m", epoch, **clusters)


ROUTES = st.builds(
    _routes,
    st.sampled_from([(), ("a",), ("a", "b"), ("b",), ("b", "c"), ("a", "b", "c")]),
    st.integers(7001, 7003),
)


class SotwMachine(RuleBasedStateMachine):
    """One state-of-the-world stream and its client, with messages under way both ways."""

    wildcard = False
    delta = False

    def __init__(self) -> None:
        super().__init__()
        self.epoch = 0
        self.snapshot: Snapshot = EMPTY
        self.client = SimulatedClient(self.wildcard)
        node = StreamNode("c")
        self.stream: SotwStream | DeltaStream = (
            DeltaStream(self.snapshot, node) if self.delta else SotwStream(self.snapshot, node)
        )
        self.known: dict[ResourceType, frozenset[str]] = {}
        self.unanswered: dict[ResourceType, str] = {}

    @initialize()
    def first_requests(self) -> None:
        """The client connects."""
        self.client.start()

    @rule(routes=ROUTES)
    def publish(self, routes: ModelRoutes) -> None:
        """The routes change."""
        self._publish(routes)

    @precondition(lambda self: self.client.outbox)
    @rule()
    def server_reads(self) -> None:
        """The server reads the oldest request."""
        kind, names, nonce, error = self.client.outbox.popleft()
        if nonce and self.unanswered.get(kind) == nonce:
            del self.unanswered[kind]
        if isinstance(self.stream, SotwStream):
            self.stream.receive(SotwRequest(kind, tuple(names), nonce, error))
        else:
            before = self.known.get(kind, frozenset())
            subscribe, unsubscribe = tuple(names - before), tuple(before - names)
            self.known[kind] = names
            self.stream.receive(DeltaRequest(kind, subscribe, unsubscribe, {}, nonce, error))
        self._pump()

    @precondition(lambda self: self.client.inbox)
    @rule(refuse=st.booleans())
    def client_reads(self, refuse: bool) -> None:
        """The client reads the oldest push, and takes it or refuses it. Listeners are never refused here."""
        push = self.client.inbox.popleft()
        if refuse and push.type is not LDS:
            self.client.refuse(push)
        else:
            self.client.accept(push, complete=push.type.complete and not self.delta)

    @invariant()
    def routes_name_what_the_client_holds(self) -> None:
        """As long as nothing was refused: no route without its clusters, for a client that takes all clusters."""
        if self.wildcard and not self.client.refused:
            for route in self.client.held[RDS].values():
                assert set(route.clusters) <= self.client.held[CDS].keys()

    def teardown(self) -> None:
        """Let everything arrive: the client ends with the newest snapshot."""
        if self.epoch == 0:
            return
        self._publish(_routes(("a", "z"), 7009))
        for _ in range(500):
            while self.client.inbox:
                push = self.client.inbox.popleft()
                self.client.accept(push, complete=push.type.complete and not self.delta)
            if not self.client.outbox:
                break
            self.server_reads()
        else:
            raise AssertionError("the two sides go round in a circle")
        for kind in (CDS, EDS):
            assert _versions(self.client.held[kind]) == _versions(self.snapshot.by_type[kind])
        name = GATEWAY if self.wildcard else "models/m"
        assert self.client.held[RDS][name].version == self.snapshot.by_type[RDS][name].version
        if not self.wildcard:
            assert self.stream.has_routes("m")

    def _publish(self, routes: ModelRoutes) -> None:
        self.epoch += 1
        before, self.snapshot = (
            self.snapshot,
            build({"m": ModelRoutes("m", self.epoch, routes.clusters)}, self.snapshot),
        )
        self.stream.replace_snapshot(self.snapshot, diff(before, self.snapshot))
        self._pump()

    def _pump(self) -> None:
        for push in self.stream.pushes():
            assert push.type not in self.unanswered, "a second push before the first was answered"
            self.unanswered[push.type] = push.nonce
            self.client.inbox.append(push)


class SotwWildcardMachine(SotwMachine):
    """As Envoy subscribes."""

    wildcard = True


class DeltaMachine(SotwMachine):
    """As Envoy subscribes by delta."""

    wildcard = True
    delta = True


def _versions(resources: Mapping[str, Resource]) -> dict[str, str]:
    return {name: each.version for name, each in resources.items()}


QUICK = settings(max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
# Ten seconds for all of them.
pytestmark = pytest.mark.long
TestSotw = SotwMachine.TestCase
TestSotw.settings = QUICK
TestSotwWildcard = SotwWildcardMachine.TestCase
TestSotwWildcard.settings = QUICK
TestDelta = DeltaMachine.TestCase
TestDelta.settings = QUICK
