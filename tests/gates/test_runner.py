"""The port: reading counts, making probes, telling verdicts, and surviving what goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

from echoplaned.core.effects import EvaluateGates
from echoplaned.core.events import Event, GatesJudged
from echoplaned.core.facts import ModelFacts
from echoplaned.core.fault import EffectKey
from echoplaned.core.ids import InstanceKey, VersionKey
from echoplaned.core.rollout_state import GateVerdict, Phase, Rollout
from echoplaned.core.routes_view import ClusterView, ModelRoutes
from echoplaned.core.spec import RolloutPolicy
from echoplaned.core.state import Instance, InstanceState, Model, RoutesProgress, State, Version
from echoplaned.gates.evaluator import GateDependencies
from echoplaned.gates.runner import GateRunner
from echoplaned.gates.standard import GateSources, StandardGates
from echoplaned.ports.probing import ProbeOutcome
from echoplaned.ports.request_counts import RequestCounts
from echoplaned.ports.traffic import Caller, ClientSource, Reporter
from echoplaned.store.evidence_files import EvidenceFiles
from echoplaned.testing import builders

NEW = VersionKey("m", "v2")
OLD = VersionKey("m", "v1")
STEP_S = 0.5


def version(key: VersionKey, *addresses: str) -> Version:
    """Return a version with an engine at each address."""
    order = builders.order(key.model, key.version)
    instances = tuple(
        Instance(InstanceKey(key, i), state=InstanceState.READY, endpoints=builders.endpoints(address))
        for i, address in enumerate(addresses)
    )
    return Version(key, order.spec, order.facts, order.plan, instances=instances)


@dataclass
class World:
    """What is outside of the runner: one model in a rollout, counts that follow a script, probes, and the verdicts."""

    per_read: Mapping[VersionKey, RequestCounts] = field(default_factory=dict)
    probe: Callable[[VersionKey], ProbeOutcome] = lambda _: ProbeOutcome(ok=True)
    count_probes: bool = True
    now_s: float = 1000.0
    probed: list[tuple[VersionKey, str, int]] = field(default_factory=list)
    running: int = 0
    max_running: int = 0
    told: list[GatesJudged] = field(default_factory=list)
    counts: dict[VersionKey, RequestCounts] = field(default_factory=dict)
    broken: bool = False
    clients: ClientSource | None = None
    state: State = field(default_factory=State)
    failures: list[tuple[EffectKey, BaseException]] = field(default_factory=list)

    def __post_init__(self) -> None:
        rollout = Rollout("r1", "m", "v1", "v2", RolloutPolicy(probe_count=20), "op1")
        self.place(replace(rollout, phase=Phase.OBSERVING, stage=1, evidence_window=3, observe_since_s=self.now_s))

    def place(self, rollout: Rollout | None) -> None:
        """Set the rollout."""
        versions = MappingProxyType({"v1": version(OLD, "old:1"), "v2": version(NEW, "new:1", "new:2")})
        clusters = (ClusterView("v1", 950_000, (), routed=True), ClusterView("v2", 50_000, (), routed=True))
        progress = RoutesProgress(epoch=4, acknowledged=True, acknowledged_count=1, subscriber_count=1)
        model = Model("m", versions, "v1", rollout, routes=ModelRoutes("m", 4, clusters), progress=progress)
        self.state = State(models=MappingProxyType({"m": model}))

    @property
    def rollout(self) -> Rollout:
        """The rollout as it is."""
        rollout = self.state.models["m"].rollout
        assert rollout is not None
        return rollout

    def totals(self) -> Mapping[VersionKey, RequestCounts]:
        """Move the time on by one interval and add what the script says (the port ``TrafficSource``)."""
        if self.broken:
            self.broken = False
            raise ValueError("bad counters")
        self.now_s += STEP_S
        for key, more in self.per_read.items():
            self._count(key, more)
        return dict(self.counts)

    def _count(self, key: VersionKey, more: RequestCounts) -> None:
        was = self.counts.get(key, RequestCounts())
        self.counts[key] = RequestCounts(
            was.ok + more.ok,
            was.client_errors + more.client_errors,
            was.server_errors + more.server_errors,
            was.arrivals + more.arrivals,
        )

    async def probe_once(self, version: VersionKey, facts: ModelFacts, address: str, index: int) -> ProbeOutcome:
        """Answer as the script says (the port ``Prober``)."""
        assert facts.architecture
        self.running += 1
        self.max_running = max(self.max_running, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        self.probed.append((version, address, index))
        outcome = self.probe(version)
        if self.count_probes:
            self._count(version, RequestCounts(ok=int(outcome.ok), server_errors=int(not outcome.ok), arrivals=1))
        return outcome

    def emit(self, event: Event) -> None:
        """Take a verdict."""
        assert isinstance(event, GatesJudged)
        self.told.append(event)

    def runner(self, interval_s: float = 0.01) -> GateRunner:
        """Return a runner in this world, fifty times as fast as a real one, or with an interval of its own."""
        dependencies = GateDependencies(
            self.emit,
            lambda: self.now_s,
            latest_state=lambda: self.state,
            failed=lambda key, error: self.failures.append((key, error)),
            interval_s=interval_s,
        )
        return GateRunner(dependencies, StandardGates(GateSources(self, {"WORKER": self}, clients=self.clients)))

    async def until(self, came_true: Callable[[], bool]) -> None:
        """Wait for something, at most 10 s."""
        async with asyncio.timeout(10):
            while not came_true():
                await asyncio.sleep(0.005)

    def last(self, gate: str = "errors") -> tuple[GateVerdict, str]:
        """Return what one gate said last."""
        return next(((v.verdict, v.reason) for v in self.told[-1].verdicts if v.gate == gate), (GateVerdict.HOLD, ""))


def traffic(new: int, old: int, new_errors: int = 0) -> dict[VersionKey, RequestCounts]:
    """Return what comes in with each reading."""
    return {
        NEW: RequestCounts(ok=new - new_errors, server_errors=new_errors, arrivals=new),
        OLD: RequestCounts(ok=old, arrivals=old),
    }


async def test_verdicts_name_their_window_and_pass_on_good_traffic() -> None:
    """Good traffic passes after the minimum time; each verdict carries rollout, stage and window."""
    world = World(per_read=traffic(20, 380))
    runner = world.runner()
    async with aclosing(runner):
        runner.evaluate(EvaluateGates(world.rollout), world.state)
        await world.until(lambda: bool(world.told) and world.last()[0] is GateVerdict.PASS)
    first = world.told[0]
    assert (first.model, first.rollout_id, first.stage, first.evidence_window) == ("m", "r1", 1, 3)
    assert first.verdicts[0].reason.startswith("MINIMUM_TIME")
    assert world.probed == []


async def test_a_failing_version_is_told_with_the_next_interval() -> None:
    """Evidence that fails is told by the first interval that sees it, before the stage's minimum time."""
    world = World(per_read=traffic(5, 95, new_errors=5))
    runner = world.runner()
    async with aclosing(runner):
        runner.evaluate(EvaluateGates(world.rollout), world.state)
        await world.until(lambda: bool(world.told) and world.last()[0] is GateVerdict.FAIL)
    assert len(world.told) <= 2
    assert world.told[-1].now_s - 1000.0 < 5.0


class Clients:
    """Two clients with 5 % of their requests at the new version; one gets errors only from it (the port ``ClientSource``)."""

    def __init__(self) -> None:
        self.reads = 0

    def by_client(self, version: VersionKey) -> Mapping[Reporter, RequestCounts]:
        """Return totals that grow with every reading."""
        self.reads += 1
        n = self.reads // 2
        fine, odd = Reporter("fine", 1), Reporter("odd", 2)
        if version == OLD:
            return {fine: RequestCounts(ok=19 * n, arrivals=19 * n), odd: RequestCounts(ok=19 * n, arrivals=19 * n)}
        return {fine: RequestCounts(ok=n, arrivals=n), odd: RequestCounts(server_errors=n, arrivals=n)}

    def route_only_clients(self, model: str) -> frozenset[Caller]:
        """Return both."""
        assert model == "m"
        return frozenset({Caller("fine"), Caller("odd")})

    def version_clients(self, model: str) -> frozenset[Caller]:
        """Return nobody."""
        del model
        return frozenset()


async def test_a_client_that_the_version_fails_is_told() -> None:
    """What one client reports for itself fails the version, though the workers see no error."""
    world = World(traffic(2, 38), clients=Clients())
    async with aclosing(world.runner()) as runner:
        runner.evaluate(EvaluateGates(world.rollout), world.state)
        await world.until(lambda: bool(world.told) and world.last("clients")[0] is GateVerdict.FAIL)
    assert "client odd" in world.last("clients")[1]
    assert world.last("errors")[0] is not GateVerdict.FAIL


async def test_without_traffic_paired_probes_decide() -> None:
    """Probes go to READY engines of both versions, the same prompt to each, at most two at once, and are not taken for traffic."""
    world = World()
    runner = world.runner()
    async with aclosing(runner):
        runner.evaluate(EvaluateGates(world.rollout), world.state)
        await world.until(lambda: bool(world.told) and world.last()[0] is GateVerdict.PASS)
    assert world.last()[1].startswith("PROBES_DECIDED")
    assert world.last("probes")[0] is GateVerdict.PASS
    assert world.max_running <= 2
    assert {index for key, _, index in world.probed if key == NEW} == {i for key, _, i in world.probed if key == OLD}
    assert {address for key, address, _ in world.probed if key == NEW} == {"new:1", "new:2"}
    counts = dict(world.told[-1].verdicts[0].counts)
    assert counts["new_request_count"] <= 1  # a report may come before the probe is known to have ended


async def test_probes_that_fail_on_the_new_version_alone_fail() -> None:
    """Probes that the new version alone fails fail it; the detail is in the reason."""
    world = World(probe=lambda key: ProbeOutcome(ok=key == OLD, detail="" if key == OLD else "wrong width"))
    runner = world.runner()
    async with aclosing(runner):
        runner.evaluate(EvaluateGates(world.rollout), world.state)
        await world.until(lambda: bool(world.told) and world.last("probes")[0] is GateVerdict.FAIL)
    assert "wrong width" in world.last("probes")[1]


def told_pass(world: World, known: int) -> bool:
    """Whether more verdicts came than were known, and the last one is PASS."""
    return len(world.told) > known and world.last()[0] is GateVerdict.PASS


async def test_a_decision_does_not_wait_for_the_interval() -> None:
    """Without traffic a window is looked at when it begins, and again when the last pair that it needs has passed."""
    world = World()
    policy = RolloutPolicy(probe_count=3, stage_min_s=0.0)
    world.place(replace(world.rollout, policy=policy))
    runner = world.runner(interval_s=3600.0)
    async with aclosing(runner):
        for stage in (1, 2):
            world.place(replace(world.rollout, stage=stage, evidence_window=3 + stage, observe_since_s=world.now_s))
            runner.evaluate(EvaluateGates(world.rollout), world.state)
            known = len(world.told)
            await world.until(partial(told_pass, world, known))
    assert [(told.stage, told.verdicts[0].verdict) for told in world.told] == [
        (stage, verdict) for stage in (1, 2) for verdict in (GateVerdict.HOLD, GateVerdict.PASS)
    ]


async def test_a_pair_that_blames_does_not_wait_for_the_interval() -> None:
    """What the new version alone fails is told pair by pair, until it suffices."""
    world = World(probe=lambda key: ProbeOutcome(ok=key == OLD, detail="" if key == OLD else "wrong width"))
    world.place(replace(world.rollout, policy=RolloutPolicy(probe_count=60, stage_min_s=0.0)))
    runner = world.runner(interval_s=3600.0)
    async with aclosing(runner):
        runner.evaluate(EvaluateGates(world.rollout), world.state)
        await world.until(lambda: bool(world.told) and world.last("probes")[0] is GateVerdict.FAIL)
    assert len(world.told) < 60


async def test_live_traffic_is_counted_for_an_interval_first() -> None:
    """A window that begins under live requests is judged after an interval of its own, not by the nothing it has at first."""
    world = World(per_read=traffic(20, 380))
    runner = world.runner(interval_s=0.2)
    async with aclosing(runner):
        runner.evaluate(EvaluateGates(world.rollout), world.state)
        await world.until(lambda: len(world.told) == 2)
        world.place(replace(world.rollout, stage=2, evidence_window=4, observe_since_s=world.now_s))
        runner.evaluate(EvaluateGates(world.rollout), world.state)
        await asyncio.sleep(0.05)
        assert len(world.told) == 2
        await world.until(lambda: world.told[-1].evidence_window == 4)
    assert dict(world.told[-1].verdicts[0].counts)["new_request_count"] > 0


async def test_another_window_keeps_the_e_process() -> None:
    """The next stage starts its counts again, and what spoke against the version is not forgotten."""
    world = World(per_read=traffic(5, 95, new_errors=1))
    runner = world.runner()
    async with aclosing(runner):
        runner.evaluate(EvaluateGates(world.rollout), world.state)
        await world.until(lambda: len(world.told) >= 2)
        world.per_read = traffic(0, 0)
        await world.until(lambda: len(world.told) >= 4)
        world.place(replace(world.rollout, stage=2, evidence_window=5, observe_since_s=world.now_s))
        runner._evaluators[world.rollout.rollout_id].stop()
        runner.evaluate(EvaluateGates(world.rollout), world.state)
        known = len(world.told)
        await world.until(lambda: len(world.told) > known and world.told[-1].evidence_window == 5)
        counts = dict(world.told[-1].verdicts[0].counts)
    assert counts["new_request_count"] == 0
    assert counts["e_value"] >= 2


async def test_while_weights_shift_only_a_failure_is_told() -> None:
    """Between two windows the judge keeps watching: nothing is told until the new version fails, and that under the present window."""
    world = World(per_read=traffic(5, 95))
    runner = world.runner()
    async with aclosing(runner):
        runner.evaluate(EvaluateGates(world.rollout), world.state)
        await world.until(lambda: len(world.told) >= 2)
        world.place(replace(world.rollout, phase=Phase.SHIFTING, stage=2, evidence_window=4, observe_since_s=None))
        known, since_s = len(world.told), world.now_s
        await world.until(lambda: world.now_s > since_s + 5 * STEP_S)
        assert len(world.told) == known
        world.per_read = traffic(5, 95, new_errors=5)
        await world.until(lambda: len(world.told) > known)
    told = world.told[known]
    assert (told.stage, told.evidence_window) == (2, 4)
    assert [v.verdict for v in told.verdicts] == [GateVerdict.FAIL]


async def test_a_rollout_that_is_over_is_forgotten() -> None:
    """A rollout that left the state, or is on its way back, is not judged any more, also if nobody says so."""
    world = World(per_read=traffic(5, 95))
    runner = world.runner()
    async with aclosing(runner):
        runner.evaluate(EvaluateGates(world.rollout), world.state)
        await world.until(lambda: len(world.told) >= 1)
        world.place(replace(world.rollout, phase=Phase.REVERTING, evidence_window=9))
        await world.until(lambda: not runner._evaluators)
        world.place(None)
        known = len(world.told)
        await asyncio.sleep(0.05)
        assert len(world.told) == known


async def test_the_end_of_a_rollout_ends_the_tasks() -> None:
    """After ``end`` no task of the runner is left, and ending twice or something unknown is nothing."""
    world = World(per_read=traffic(5, 95))
    runner = world.runner()
    runner.evaluate(EvaluateGates(world.rollout), world.state)
    await world.until(lambda: len(world.told) >= 1)
    runner.end(world.rollout.rollout_id)
    runner.end(world.rollout.rollout_id)
    await runner.aclose()
    await asyncio.sleep(0.02)
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("gates")] == []


async def test_broken_counters_are_reported_and_the_judge_waits() -> None:
    """A source that raises is a fault of the effect; nothing is said until the loop asks again, then the same window goes on."""
    world = World(per_read=traffic(5, 95))
    runner = world.runner()
    async with aclosing(runner):
        runner.evaluate(EvaluateGates(world.rollout), world.state)
        await world.until(lambda: len(world.told) >= 1)
        world.broken = True
        await world.until(lambda: bool(world.failures))
        ((key, error),) = world.failures
        assert key == EvaluateGates(world.rollout).key
        assert isinstance(error, ValueError)
        known = len(world.told)
        await asyncio.sleep(0.05)
        assert len(world.told) == known
        runner.evaluate(EvaluateGates(world.rollout), world.state)
        await world.until(lambda: len(world.told) > known)
    assert world.told[-1].evidence_window == world.rollout.evidence_window


async def test_a_model_that_is_gone_is_not_judged() -> None:
    """An effect for a model that the state does not have starts nothing."""
    world = World()
    runner = world.runner()
    runner.evaluate(EvaluateGates(world.rollout), State())
    assert runner._evaluators == {}
    await runner.aclose()


async def test_what_an_earlier_daemon_wrote_goes_with_its_rollout(tmp_path: Path) -> None:
    """A rollout that this daemon never judged, as it was on its way back already, leaves no evidence either."""
    files = EvidenceFiles(tmp_path)
    for name in ("r1", "r2"):
        files.save(name, b"evidence")
    runner = World().runner()
    runner._dependencies = replace(runner._dependencies, store=files)
    runner.end("r1")
    await runner.aclose()
    assert (files.load("r1"), files.load("r2")) == (None, b"evidence")
