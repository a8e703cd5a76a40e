"""A world of behaviour: versions that score texts, telemetry, a store of evidence, and one model in a rollout."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest

from echoplaned.core.effects import EvaluateGates
from echoplaned.core.engine_events import Int8BaselineMeasured
from echoplaned.core.events import Event, GatesJudged
from echoplaned.core.facts import ModelFacts, Task
from echoplaned.core.fault import EffectKey
from echoplaned.core.ids import InstanceKey, VersionKey
from echoplaned.core.rollout_state import Phase, Rollout, Verdict
from echoplaned.core.routes_view import ClusterView, ModelRoutes
from echoplaned.core.spec import BehaviourChange, EchoPolicy, RolloutPolicy
from echoplaned.core.state import Instance, InstanceState, Model, RoutesProgress, State, Version
from echoplaned.gates.collector import RolloutContext
from echoplaned.gates.evaluator import GateDependencies
from echoplaned.gates.runner import GateRunner
from echoplaned.gates.standard import GateSources, StandardGates
from echoplaned.ports.probing import ProbeOutcome
from echoplaned.ports.request_counts import RequestCounts
from echoplaned.ports.scoring import ScoreOutcome
from echoplaned.ports.traces import RequestTrace, TraceFlag, TraceKind
from echoplaned.testing import builders

NEW, OLD = VersionKey("m", "v2"), VersionKey("m", "v1")


class Talk:
    """Two versions that score texts (the port ``Scorer``): the new one's log-probabilities are lower by ``apart``.

    ``rounding``: by how much the old one's are in INT8; None: it cannot tell.
    """

    def __init__(self, apart: float = 0.0, *, ok: bool = True, rounding: float | None = None) -> None:
        self.apart = apart
        self.ok = ok
        self.rounding = rounding
        self.measuring = 0
        self.scored: list[tuple[VersionKey, str, int]] = []

    @property
    def text_count(self) -> int:
        """Return how many texts there are."""
        return 40

    def text(self, index: int) -> str:
        """Return a text's name."""
        return f"text {index}"

    async def score(
        self, version: VersionKey, facts: ModelFacts, address: str, index: int, *, as_int8: bool = False
    ) -> ScoreOutcome:
        """Score a text of 20 tokens."""
        assert facts.architecture
        await asyncio.sleep(0)
        if as_int8:
            return self._in_int8(version)
        if version == OLD and self.rounding is not None and self.measuring:
            self.measuring -= 1
            return self._told(0.0)
        self.scored.append((version, address, index))
        if not self.ok and version == NEW:
            return ScoreOutcome(ok=False, detail="UNIMPLEMENTED")
        return self._told(self.apart if version == NEW else 0.0)

    def _in_int8(self, version: VersionKey) -> ScoreOutcome:
        assert version == OLD
        if self.rounding is None:
            return ScoreOutcome(ok=False, detail="INVALID_ARGUMENT: it is in INT8 already")
        self.measuring += 1
        return self._told(self.rounding)

    @staticmethod
    def _told(shift: float) -> ScoreOutcome:
        return ScoreOutcome(
            ok=True, token_ids=np.arange(20), log_probabilities=np.full(20, -2.0 - shift, dtype=np.float32)
        )


class Telemetry:
    """Traces that a test puts in (the port ``TraceSource``)."""

    def __init__(self) -> None:
        self.waiting: dict[VersionKey, list[RequestTrace]] = {NEW: [], OLD: []}
        self.dropped = 0

    def traces(self, version: VersionKey) -> tuple[RequestTrace, ...]:
        """Hand out what waits."""
        given = tuple(self.waiting[version])
        self.waiting[version].clear()
        return given

    def dropped_count(self, version: VersionKey) -> int:
        """Return how many were dropped."""
        assert version in self.waiting
        return self.dropped


def trace(
    version: VersionKey, ended_s: float, *, flags: TraceFlag = TraceFlag.NONE, probe: bool = False
) -> RequestTrace:
    """Return a trace of three tokens."""
    numbers = np.array([-1.0, -2.0, -1.5], dtype=np.float32)
    return RequestTrace(
        version,
        ended_s,
        TraceKind.TOKENS,
        5,
        numbers,
        -numbers,
        np.arange(3, dtype=np.int32),
        np.zeros(0, dtype=np.float32),
        flags,
        probe=probe,
    )


def rollout_of(change: BehaviourChange = BehaviourChange.EQUIVALENT, echo_policy: EchoPolicy | None = None) -> Rollout:
    """Return a rollout in its first stage."""
    policy = RolloutPolicy(probe_count=5, echo=echo_policy or EchoPolicy())
    return Rollout(
        "r1",
        "m",
        "v1",
        "v2",
        policy,
        "op1",
        change,
        Phase.OBSERVING,
        stage=1,
        evidence_window=3,
        observe_since_s=1000.0,
    )


def model_of(rollout: Rollout) -> Model:
    """Return a model with both versions ready, serving generations."""
    versions = {}
    for key in (OLD, NEW):
        order = builders.order(key.model, key.version)
        instance = Instance(
            InstanceKey(key, 0), state=InstanceState.READY, endpoints=builders.endpoints(f"{key.version}:1")
        )
        facts = replace(order.facts, task=Task.GENERATION)
        versions[key.version] = Version(key, order.spec, facts, order.plan, instances=(instance,))
    clusters = (ClusterView("v1", 950_000, (), routed=True), ClusterView("v2", 50_000, (), routed=True))
    progress = RoutesProgress(epoch=4, acknowledged=True, acknowledged_count=1, subscriber_count=1)
    return Model(
        "m", MappingProxyType(versions), "v1", rollout, routes=ModelRoutes("m", 4, clusters), progress=progress
    )


def context_of(rollout: Rollout) -> RolloutContext:
    """Return what a collector sees of a rollout; nothing is measured, and nobody is woken."""
    model = model_of(rollout)
    return RolloutContext(model, rollout, lambda: (model, rollout), lambda: 1000.0, unexpected, lambda: None)


def unexpected(event: Event) -> None:
    """Fail: no event is expected where this is given."""
    pytest.fail(f"unexpected: {event}")


def measured(state: State, event: Int8BaselineMeasured) -> State:
    """Return the state with what was measured; nothing else happens, as nothing else runs in this world."""
    model = state.models[event.version.model]
    version = replace(model.versions[event.version.version], int8_baseline=event.measured)
    versions = MappingProxyType({**model.versions, event.version.version: version})
    return replace(state, models=MappingProxyType({"m": replace(model, versions=versions)}))


class Store:
    """Evidence that outlives a runner (the port ``EvidenceStore``); a full one keeps nothing."""

    def __init__(self, *, full: bool = False) -> None:
        self.full = full
        self.asked = 0
        self.found: dict[str, bytes] = {}

    def save(self, rollout_id: str, content: bytes) -> None:
        """Keep evidence."""
        self.asked += 1
        if self.full:
            raise OSError(28, "No space left on device")
        self.found[rollout_id] = content

    def load(self, rollout_id: str) -> bytes | None:
        """Return what is kept."""
        return self.found.get(rollout_id)

    def delete(self, rollout_id: str) -> None:
        """Drop what is kept."""
        self.found.pop(rollout_id, None)


class World:
    """One model in a rollout, without traffic; probes are good."""

    def __init__(self, talk: Talk, rollout: Rollout, kept: Store | None = None) -> None:
        self.told: list[GatesJudged] = []
        self.rollout = rollout
        self.state = State(models=MappingProxyType({"m": model_of(rollout)}))
        dependencies = GateDependencies(
            self.emit, lambda: 1000.0, lambda: self.state, failed=self.fail, store=kept, interval_s=0.01
        )
        self.runner = GateRunner(dependencies, StandardGates(GateSources(self, {"WORKER": self}, scorer=talk)))

    def totals(self) -> Mapping[VersionKey, RequestCounts]:
        """Count nothing."""
        return {}

    async def probe_once(self, version: VersionKey, facts: ModelFacts, address: str, index: int) -> ProbeOutcome:
        """Answer well."""
        assert version in {NEW, OLD}
        assert facts.architecture
        assert address
        assert index >= 0
        return ProbeOutcome(ok=True)

    @staticmethod
    def fail(key: EffectKey, error: BaseException) -> None:
        """Fail: no task breaks in this world."""
        pytest.fail(f"{key}: {error!r}")

    def emit(self, event: Event) -> None:
        """Take verdicts, and what was measured."""
        if isinstance(event, Int8BaselineMeasured):
            self.state = measured(self.state, event)
            return
        assert isinstance(event, GatesJudged)
        self.told.append(event)

    def said(self) -> Verdict | None:
        """Return the gate's latest verdict."""
        return next((v for v in self.told[-1].verdicts if v.gate == "echo"), None) if self.told else None

    async def decided(self) -> Verdict:
        """Wait until the gate has waited for its texts."""
        self.runner.evaluate(EvaluateGates(self.rollout), self.state)
        async with asyncio.timeout(10):
            while (said := self.said()) is None or said.reason.startswith("ECHO_SCORING"):
                await asyncio.sleep(0.005)
        await self.runner.aclose()
        return said
