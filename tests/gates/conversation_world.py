"""A rollout in virtual time whose requests belong to conversations, and what gateway and workers tell of them, and when."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from echoplaned.core.ids import VersionKey
from echoplaned.core.rollout_state import GateVerdict, Rollout, Verdict
from echoplaned.core.spec import RolloutPolicy
from echoplaned.core.state import Model
from echoplaned.gates import evaluation
from echoplaned.gates.clients.collector import ClientsCollector
from echoplaned.gates.collector import RolloutContext
from echoplaned.gates.counting import CountingOptions, CountsCollector
from echoplaned.gates.evaluation import GateResults
from echoplaned.gates.gate import MakePairs, Observation, Start
from echoplaned.gates.statistics.pairs import PairOutcome
from echoplaned.gates.window import Window
from echoplaned.ports.request_counts import NOTHING, RequestCounts
from echoplaned.ports.traffic import Caller, Reporter
from echoplaned.xds.conversations import ConversationLedger
from tests.gates.judging import GATES

NEW, OLD = VersionKey("m", "v2"), VersionKey("m", "v1")
TICK_S = 0.5
_DOOR = Reporter("gateway", 1, "unix:", keeps_conversations=True)


@dataclass(frozen=True, slots=True)
class Talk:
    """One conversation.

    Attributes:
        name: by which the gateway keeps it.
        rate_per_s: its requests a second.
        hashed: where it goes: to the new version once that one's share is above this.
        new_error: chance that the new version fails one of its requests.
        old_error: chance that the old one does.
    """

    name: str
    rate_per_s: float
    hashed: float
    new_error: float = 0.0
    old_error: float = 0.0


@dataclass
class Told:
    """Running totals by version: a ``TrafficSource`` and a ``ClientSource`` with the gateway as its only client."""

    counts: dict[VersionKey, RequestCounts] = field(default_factory=dict)

    def add(self, version: VersionKey, counts: RequestCounts) -> None:
        """Count more."""
        self.counts[version] = self.counts.get(version, NOTHING) + counts

    def totals(self) -> Mapping[VersionKey, RequestCounts]:
        """Return what was counted."""
        return self.counts

    def by_client(self, version: VersionKey) -> Mapping[Reporter, RequestCounts]:
        """Return the same as the gateway's."""
        return {_DOOR: self.counts[version]} if version in self.counts else {}

    def route_only_clients(self, model: str) -> frozenset[Caller]:
        """Return the gateway: its routes alone steer it."""
        return frozenset({_DOOR.caller})

    def version_clients(self, model: str) -> frozenset[Caller]:
        """Return nobody."""
        del model
        return frozenset()


@dataclass(frozen=True, slots=True)
class Ended:
    """How a rollout ended: ``failed`` is empty where none failed it, ``stage`` is the last one, from 1."""

    failed: str
    promoted: bool
    stage: int
    requests: Counter[tuple[str, bool]]
    verdicts: tuple[Verdict, ...]


class World:
    """Clients, a gateway and workers around the real collectors and gates; probes are all answered well.

    Args:
        policy: of the rollout.
        talks: its conversations.
        random: source of all randomness.
        known: whether the gateway tells conversations apart.
    """

    def __init__(self, policy: RolloutPolicy, talks: tuple[Talk, ...], random: Random, *, known: bool = True) -> None:
        self._policy = policy
        self._talks = talks
        self._random = random
        self._known = known
        self._now_s = 1000.0
        self._ledger = ConversationLedger(lambda: self._now_s)
        self._worker, self._lrs = Told(), Told()
        self._late: deque[tuple[float, VersionKey, Talk, RequestCounts]] = deque()
        self._due_pairs = 0.0
        self.requests: Counter[tuple[str, bool]] = Counter()

    def run(self) -> Ended:
        """Run the rollout to its end."""
        for _ in range(20):  # the old version is used before
            self._serve(0.0)
            self._now_s += TICK_S
        rollout = Rollout("r", "m", "v1", "v2", self._policy, "op")
        context = RolloutContext(Model("m"), rollout, lambda: None, lambda: self._now_s, lambda _: None, lambda: None)
        options = CountingOptions(conversations=self._ledger if self._known else None)
        counts = CountsCollector({"LRS": self._lrs, "WORKER": self._worker}, None, options, context)
        clients = ClientsCollector(self._lrs, counts, NEW, OLD, options.conversations)
        evidence, weighed = None, GateResults((), ())
        for number, percent in enumerate(self._policy.stages_percent, 1):
            share = min(percent / 100, 0.999999)
            window = Window(self._policy, number, number, self._now_s)
            if evidence is None:
                evidence = evaluation.begin(GATES, Start(window, counts.sources(), Model("m"), rollout))
            else:
                evidence = evaluation.enter(evidence, window)
            for collector in (counts, clients):
                collector.enter()
            passed = False
            while not passed and self._now_s - window.began_s < self._policy.stage_max_s:
                self._now_s += TICK_S
                self._serve(share)
                seen = Observation(self._now_s, weight=share, subscribers=1, pairs=self._pairs(weighed))
                seen = counts.add_to(clients.add_to(seen))
                evidence = evaluation.observe(evidence, seen)
                weighed = evaluation.weigh(evidence, self._now_s)
                clients.take(weighed.asks)
                failed = next((v for v in weighed.verdicts if v.verdict is GateVerdict.FAIL), None)
                if failed is not None:
                    return Ended(f"{failed.gate}: {failed.reason}", False, number, self.requests, weighed.verdicts)
                passed = all(v.verdict is GateVerdict.PASS for v in weighed.verdicts)
            if not passed:
                return Ended("", False, number, self.requests, weighed.verdicts)
        return Ended("", True, len(self._policy.stages_percent), self.requests, weighed.verdicts)

    def _pairs(self, weighed: GateResults) -> tuple[PairOutcome, ...]:
        if not any(isinstance(ask, MakePairs) for ask in weighed.asks):
            return ()
        self._due_pairs += TICK_S * 2.0
        count, self._due_pairs = math.floor(self._due_pairs), self._due_pairs % 1.0
        return (PairOutcome(new_ok=True, old_ok=True),) * count

    def _serve(self, share: float) -> None:
        """Answer what came in a tick: workers tell at once, the gateway and its load report by the second after."""
        for talk in self._talks:
            version = NEW if talk.hashed < share else OLD
            error = talk.new_error if version is NEW else talk.old_error
            for _ in range(_poisson(self._random, talk.rate_per_s * TICK_S)):
                failed = self._random.random() < error
                self.requests[version.version, failed] += 1
                counts = RequestCounts(ok=not failed, server_errors=failed, arrivals=1)
                self._worker.add(version, counts)
                self._late.append((self._now_s, version, talk, counts))
        while self._late and self._now_s - self._late[0][0] >= 1.0:
            _, version, talk, counts = self._late.popleft()
            self._lrs.add(version, counts)
            self._ledger.add(version, talk.name, counts)


def _poisson(random: Random, mean: float) -> int:
    limit, count, product = math.exp(-mean), 0, random.random()
    while product > limit:
        count, product = count + 1, product * random.random()
    return count
