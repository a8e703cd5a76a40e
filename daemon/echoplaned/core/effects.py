"""What the core asks for. Each has a key that makes it idempotent; an effect that was lost in a crash is handed out again."""

from __future__ import annotations

from dataclasses import dataclass

from echoplaned.core.calibration import MemoryUsage
from echoplaned.core.endpoints import Endpoint
from echoplaned.core.facts import ModelFacts
from echoplaned.core.fault import EffectKey
from echoplaned.core.ids import InstanceKey
from echoplaned.core.placement import Placement
from echoplaned.core.routes_view import ModelRoutes
from echoplaned.core.spec import DEFAULT_ACK_TIMEOUT_S, VersionSpec
from echoplaned.core.state import Operation, Rollout


@dataclass(frozen=True, slots=True)
class Persist:
    """Commit the step's durable changes before any other effect of the step; one transaction."""

    epoch: int


@dataclass(frozen=True, slots=True)
class PlaceInstance:
    """Find room for an instance.

    ``looks``: how often it was asked for again while the instance waits for memory; ``waiting_since_s``: since when, None: it does not.
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
    """Start an engine process for an instance, or take the one that runs already for this generation.

    ``kv_cache_bytes``: what the plan gives the cache on each device; 0: it names none.
    """

    instance: InstanceKey
    generation: int
    placement: Placement
    spec: VersionSpec
    facts: ModelFacts
    kv_cache_bytes: int = 0

    @property
    def key(self) -> EffectKey:
        """Instance and generation."""
        return ("start", str(self.instance), self.generation)


@dataclass(frozen=True, slots=True)
class ProbeEngine:
    """Make real inferences on an instance."""

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
    """Wait until an instance has no call in flight and none arrives, at most until the deadline.

    ``calls_only``: no route leads to it any more, and its process may be stuck: wait for the calls in flight, and ask it for nothing.
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
    """Stop waiting for quiet: the instance serves again."""

    instance: InstanceKey
    generation: int


@dataclass(frozen=True, slots=True)
class StopEngine:
    """End an instance's process, if there is one; answer when it has gone."""

    instance: InstanceKey
    generation: int

    @property
    def key(self) -> EffectKey:
        """Instance and generation."""
        return ("stop", str(self.instance), self.generation)


@dataclass(frozen=True, slots=True)
class ExplainMemory:
    """Set a process's peaks beside what the formulas give. One that is lost in a crash is no harm: the process is measured again."""

    instance: InstanceKey
    generation: int
    usage: MemoryUsage


@dataclass(frozen=True, slots=True)
class PublishRoutes:
    """Make these a model's routes.

    ``removed``: the model has no routes any more. ``urgent``: they only take weight from a version that fails.
    ``ack_timeout_s``: a subscriber that is silent for longer is stale.
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
    """Judge a window of a stage, again and again, until another window or none is asked for."""

    rollout: Rollout

    @property
    def key(self) -> EffectKey:
        """Rollout, phase, stage, window."""
        return ("gates", self.rollout.rollout_id, self.rollout.phase, self.rollout.stage, self.rollout.evidence_window)


@dataclass(frozen=True, slots=True)
class FinishOperation:
    """Wake whoever waits for an operation."""

    operation: Operation


@dataclass(frozen=True, slots=True)
class Reply:
    """Which operation answers the command of this step; empty: none."""

    operation_id: str


@dataclass(frozen=True, slots=True)
class Announce:
    """Something worth telling: watchers, metrics, log. ``subject``: a resource name."""

    sequence: int
    time_s: float
    subject: str
    kind: str
    text: str


KeyedEffect = PlaceInstance | StartEngine | ProbeEngine | DrainEngine | StopEngine | PublishRoutes | EvaluateGates
Effect = Persist | KeyedEffect | UndrainEngine | ExplainMemory | FinishOperation | Reply | Announce
