"""What the loop needs of the outside world. Adapters implement these; each answers with events through the ``Emit`` it was given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from echoplaned.core.effects import (
    Announce,
    DrainEngine,
    EvaluateGates,
    ExplainReading,
    PlanInstance,
    ProbeEngine,
    PublishRoutes,
    StartEngine,
    StopEngine,
)
from echoplaned.core.events import Event, FoundEngine
from echoplaned.core.facts import ModelFacts
from echoplaned.core.ids import InstanceKey, VersionKey
from echoplaned.core.state import Rollout, State
from echoplaned.runtime.traces import RequestTrace

Emit = Callable[[Event], None]
"""Send an event to the loop; never blocks, may be called from the loop's thread only."""

Clock = Callable[[], float]
"""Seconds since the epoch."""


class Store(Protocol):
    """Where the state outlives the process. Blocking; the loop calls it in one worker thread of its own."""

    def load(self) -> State:
        """Return the stored state; an empty one from an empty store.

        Raises:
            StoreUnavailableError: the store cannot be read.
        """
        ...

    def commit(self, before: State, after: State, announces: tuple[Announce, ...]) -> None:
        """Write what differs between two states, in one transaction, if the store is still at ``before.store_epoch``.

        Raises:
            StoreUnavailableError: nothing was written.
        """
        ...


class Engines(Protocol):
    """Engine processes. Every method returns at once; results come as events with the effect's instance and generation."""

    def start(self, effect: StartEngine) -> None:
        """Start, or take the process that runs already for this generation. Answers EngineReady, EngineLost or EngineGaveUp."""
        ...

    def probe(self, effect: ProbeEngine) -> None:
        """Make real inferences. Answers ProbesPassed or ProbesFailed, then MemoryMeasured."""
        ...

    def drain(self, effect: DrainEngine) -> None:
        """Wait for quiet. Answers EngineDrained. Given up without an answer when ``undrain`` is called."""
        ...

    def undrain(self, instance: InstanceKey, generation: int) -> None:
        """Stop waiting for quiet: the instance serves again."""
        ...

    def stop(self, effect: StopEngine) -> None:
        """End the process group. Answers EngineStopped when it has gone (also if there was none), EngineGaveUp if it will not die."""
        ...

    async def adopt(self) -> tuple[FoundEngine, ...]:
        """Find the engines that outlived the last daemon and watch them."""
        ...

    async def sweep(self, owned: frozenset[tuple[InstanceKey, int]]) -> int:
        """Kill every engine process of this state directory that nobody owns; return how many."""
        ...


class Planner(Protocol):
    """The allocator, as the loop sees it."""

    def plan_instance(self, effect: PlanInstance, state: State) -> None:
        """Find a device for an instance. Answers Reserved or Refused."""
        ...

    def explain_reading(self, effect: ExplainReading, state: State) -> None:
        """Set a process's peaks beside the formulas. Answers ReadingTaken, or nothing where the checkpoint has gone."""
        ...


class Routes(Protocol):
    """The xDS side."""

    def publish(self, effect: PublishRoutes) -> None:
        """Publish one model's routes. Answers RoutesProgressed whenever that changes, RoutesRefused when refused."""
        ...

    def open(self) -> None:
        """Begin to answer streams: the whole recovered state is published."""
        ...

    def forget(self, model: str) -> None:
        """Drop what is left of a deleted model."""
        ...


class Gates(Protocol):
    """The judges of a rollout."""

    def evaluate(self, effect: EvaluateGates, state: State) -> None:
        """Judge a window until another one is asked for. Answers GatesJudged about once a second."""
        ...

    def forget(self, rollout: Rollout) -> None:
        """The rollout does not need judging any more."""
        ...


@dataclass(frozen=True, slots=True)
class TrafficCounts:
    """Running totals of one version.

    ``client_errors`` are the callers' own mistakes; a source that cannot tell puts all in ``server_errors``.
    """

    ok: int = 0
    client_errors: int = 0
    server_errors: int = 0
    arrivals: int = 0
    in_flight: int = 0


@dataclass(frozen=True, slots=True)
class ProbeOutcome:
    """One real inference made as a probe. ``detail``: why it failed; empty if it did not."""

    ok: bool
    detail: str = ""
    duration_s: float = 0.0


class Prober(Protocol):
    """Makes one golden probe on one instance."""

    async def probe_once(self, version: VersionKey, facts: ModelFacts, address: str, index: int) -> ProbeOutcome:
        """Send golden prompt ``index`` (modulo their number) and check the answer; never raises for an engine's failure."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class ScoreOutcome:
    """How one version sees one golden text. ``detail``: why it failed; empty if it did not. Every number is finite.

    Attributes:
        token_ids: [T], the text's own tokens but the first, cut to the version's context; None where there are no tokens.
        log_probabilities: [T], nats: of each of them, given those before it.
        distributions: [T, V], nats: the whole distribution at each of them; None where it is too large for a message.
        vector: [width], an embedding or logits; None for a generation.
    """

    ok: bool
    detail: str = ""
    token_ids: npt.NDArray[np.int64] | None = None
    log_probabilities: npt.NDArray[np.float32] | None = None
    distributions: npt.NDArray[np.float32] | None = None
    vector: npt.NDArray[np.float32] | None = None


class Scorer(Protocol):
    """Has golden texts scored, teacher-forced: the same text under two versions makes a pair."""

    @property
    def text_count(self) -> int:
        """How many texts there are."""
        ...

    def text(self, index: int) -> str:
        """Return golden text ``index`` (modulo their number)."""
        ...

    async def score(
        self, version: VersionKey, facts: ModelFacts, address: str, index: int, *, requantised: bool = False
    ) -> ScoreOutcome:
        """Have golden text ``index`` (modulo their number) scored; never raises for an engine's failure.

        ``requantised``: as the version in INT8 would score it; an engine that cannot tell says so.
        """
        ...


class EvidenceStore(Protocol):
    """Where gates keep what they know of a rollout. Blocking; one call at a time for each rollout."""

    def save(self, rollout_id: str, content: bytes) -> None:
        """Keep a rollout's evidence in place of what was kept before; it is durable on return.

        Raises:
            OSError: it was not kept; what was there before is there still.
        """
        ...

    def load(self, rollout_id: str) -> bytes | None:
        """Return a rollout's evidence; None where there is none.

        Raises:
            OSError: it cannot be read.
        """
        ...

    def forget(self, rollout_id: str) -> None:
        """Remove a rollout's evidence, if there is any.

        Raises:
            OSError: it cannot be removed.
        """
        ...


class TraceSource(Protocol):
    """The versions' telemetry, for one reader. Each version keeps the same number of traces and drops its oldest beyond it."""

    def traces(self, version: VersionKey) -> tuple[RequestTrace, ...]:
        """Return what came since the last call, in the order of arrival, and forget it."""
        ...

    def dropped_count(self, version: VersionKey) -> int:
        """Return how many traces of a version were dropped, here or in its workers, since the daemon started."""
        ...


@dataclass(frozen=True, slots=True)
class Reporter:
    """One client's stream of load reports. ``node``: the client's id, which others may share; ``stream``: tells the streams apart."""

    node: str
    stream: int


class ClientSource(Protocol):
    """Running totals client by client."""

    def by_client(self, version: VersionKey) -> Mapping[Reporter, TrafficCounts]:
        """Return the totals of every client that reports at present, since its stream of reports began."""
        ...

    def steered(self, model: str) -> frozenset[str]:
        """Return the node ids of which every stream follows the model's routes and dials none of its versions by itself."""
        ...


class TrafficSource(Protocol):
    """Running totals by version, from load reports (LRS) or from the workers themselves."""

    def totals(self) -> Mapping[VersionKey, TrafficCounts]:
        """Return the totals since the daemon started."""
        ...
