"""What the core asks for.

Each effect that the state implies has a key that makes it idempotent; one that was lost in a crash is handed out again.
"""

from __future__ import annotations

from dataclasses import dataclass

from echoplaned.core.calibration import MemoryUsage
from echoplaned.core.endpoints import Endpoint
from echoplaned.core.facts import ModelFacts
from echoplaned.core.fault import EffectKey
from echoplaned.core.ids import InstanceKey
from echoplaned.core.placement import Placement
from echoplaned.core.rollout_state import Rollout
from echoplaned.core.routes_view import ModelRoutes
from echoplaned.core.spec import DEFAULT_ACK_TIMEOUT_S, VersionSpec
from echoplaned.core.state import Operation


@dataclass(frozen=True, slots=True)
class Persist:
    """Commit the step's durable changes, before any other effect of the step.

    One transaction.

    Attributes:
        epoch: number of the change, ``State.store_epoch``, from 1.
    """

    epoch: int


@dataclass(frozen=True, slots=True)
class PlaceInstance:
    """Find room for an instance.

    Attributes:
        instance: the instance, PENDING.
        reservation_epoch: ``State.reservation_epoch`` that the answer is to be based on.
        looks: how often it was asked for again while the instance waits for memory, from 0.
        waiting_since_s: since when the instance waits for memory, seconds since the epoch; None: it does not.
    """

    instance: InstanceKey
    reservation_epoch: int
    looks: int = 0
    waiting_since_s: float | None = None

    @property
    def key(self) -> EffectKey:
        """Instance and reservation epoch, and the look of one that waits."""
        return ("place", str(self.instance), self.reservation_epoch, *((self.looks,) if self.looks else ()))


@dataclass(frozen=True, slots=True)
class StartEngine:
    """Start an engine process for an instance, or adopt the one of this generation.

    Attributes:
        instance: the instance, STARTING.
        generation: number of its engine session, from 1.
        placement: its node, and what it holds of each device there.
        spec: what makes the engine what it is, with the context that was chosen.
        facts: what the version's files say.
        kv_cache_bytes: what the plan gives the cache on each device, bytes; 0: it names none.
        engine_build: build of the engine that served the version first; another one is refused. Empty: any.
    """

    instance: InstanceKey
    generation: int
    placement: Placement
    spec: VersionSpec
    facts: ModelFacts
    kv_cache_bytes: int = 0
    engine_build: str = ""

    @property
    def key(self) -> EffectKey:
        """Instance and generation."""
        return ("start", str(self.instance), self.generation)


@dataclass(frozen=True, slots=True)
class ProbeEngine:
    """Make real inferences on an instance.

    Attributes:
        instance: the instance, PROBING.
        generation: number of its engine session, from 1.
        endpoints: where it can be called, one for each protocol.
        facts: what the version's files say, its signature among it.
    """

    instance: InstanceKey
    generation: int
    endpoints: tuple[Endpoint, ...]
    facts: ModelFacts

    @property
    def key(self) -> EffectKey:
        """Instance and generation."""
        return ("probe", str(self.instance), self.generation)


@dataclass(frozen=True, slots=True)
class DrainEngine:
    """Wait until an instance has no call in flight, at most until the deadline.

    None may arrive meanwhile either.

    Attributes:
        instance: the instance, DRAINING, or STOPPING while its end is held back.
        generation: number of its engine session, from 1.
        deadline_s: when what is still in flight is cut, seconds since the epoch.
        calls_only: whether no route leads to it and its process may be stuck: wait for the calls in flight, and ask it for nothing.
    """

    instance: InstanceKey
    generation: int
    deadline_s: float
    calls_only: bool = False

    @property
    def key(self) -> EffectKey:
        """Instance and generation."""
        return ("drain", str(self.instance), self.generation)


@dataclass(frozen=True, slots=True)
class UndrainEngine:
    """Stop waiting for quiet: the instance serves again.

    Attributes:
        instance: the instance, READY again.
        generation: number of its engine session, from 1.
    """

    instance: InstanceKey
    generation: int


@dataclass(frozen=True, slots=True)
class StopEngine:
    """End an instance's process, if there is one; answer when it has gone.

    Attributes:
        instance: the instance, STOPPING.
        generation: number of its engine session, from 1.
    """

    instance: InstanceKey
    generation: int

    @property
    def key(self) -> EffectKey:
        """Instance and generation."""
        return ("stop", str(self.instance), self.generation)


@dataclass(frozen=True, slots=True)
class ExplainMemory:
    """Set a process's memory peaks beside what the formulas give.

    One that is lost in a crash is no harm: the process is measured again.

    Attributes:
        instance: the instance that was measured.
        generation: number of its engine session, from 1.
        usage: what its process reports.
    """

    instance: InstanceKey
    generation: int
    usage: MemoryUsage


@dataclass(frozen=True, slots=True)
class PublishRoutes:
    """Make these a model's routes.

    Attributes:
        model: id of the model.
        epoch: number of the routes; the highest wins.
        routes: all of the model's routes.
        removed: whether the model has no routes any more.
        urgent: whether they only take weight from a version that fails, so that they do not wait for the store.
        ack_timeout_s: seconds after which a subscriber that is silent is stale.
    """

    model: str
    epoch: int
    routes: ModelRoutes
    removed: bool = False
    urgent: bool = False
    ack_timeout_s: float = DEFAULT_ACK_TIMEOUT_S

    @property
    def key(self) -> EffectKey:
        """Model and route epoch."""
        return ("publish", self.model, self.epoch)


@dataclass(frozen=True, slots=True)
class EvaluateGates:
    """Judge one stage's evidence window, again and again.

    It ends when another window is asked for, or none.

    Attributes:
        rollout: the rollout as it was when this was asked for.
    """

    rollout: Rollout

    @property
    def key(self) -> EffectKey:
        """Rollout, phase, stage, window."""
        return ("gates", self.rollout.rollout_id, self.rollout.phase, self.rollout.stage, self.rollout.evidence_window)


@dataclass(frozen=True, slots=True)
class FinishOperation:
    """Wake whoever waits for an operation.

    Attributes:
        operation: the operation, done.
    """

    operation: Operation


@dataclass(frozen=True, slots=True)
class Reply:
    """Which operation answers the command of this step.

    Attributes:
        operation_id: id of the operation; empty: none.
    """

    operation_id: str


@dataclass(frozen=True, slots=True)
class Announce:
    """Something worth telling watchers, metrics and the log.

    Attributes:
        sequence: number of the announcement, from 1, rising.
        time_s: when it happened, seconds since the epoch.
        subject: full name of the resource that it is about.
        kind: stable name, for example ``instance.ready``.
        text: what happened, in a sentence for people.
    """

    sequence: int
    time_s: float
    subject: str
    kind: str
    text: str


KeyedEffect = PlaceInstance | StartEngine | ProbeEngine | DrainEngine | StopEngine | PublishRoutes | EvaluateGates
Effect = Persist | KeyedEffect | UndrainEngine | ExplainMemory | FinishOperation | Reply | Announce
