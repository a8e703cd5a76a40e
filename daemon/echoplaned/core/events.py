"""Everything that can happen. Callers' events may be refused (an error is raised); adapters' events never raise."""

from __future__ import annotations

from dataclasses import dataclass

from echoplaned.core.behaviour import Requantised
from echoplaned.core.calibration import EngineKey, MemoryUsage, Reading
from echoplaned.core.endpoints import Endpoint
from echoplaned.core.facts import ModelFacts
from echoplaned.core.failure import Failure
from echoplaned.core.ids import InstanceKey, VersionKey
from echoplaned.core.placement import Placement
from echoplaned.core.plan import Plan
from echoplaned.core.spec import BehaviourChange, RolloutPolicy, Tier, VersionSpec
from echoplaned.core.state import Verdict


@dataclass(frozen=True, slots=True)
class Request:
    """What every caller's event carries. ``operation_id`` and ids of new resources are drawn outside; unused if the request is a repeat."""

    now_s: float
    operation_id: str = ""
    request_id: str = ""
    request_digest: str = ""


# --- callers -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class VersionOrder:
    """A version that a caller wants: what it is, what its files say, and the plan that says it fits."""

    model: str
    version: str
    spec: VersionSpec
    facts: ModelFacts
    plan: Plan
    tier: Tier = Tier.HOT
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class LoadRequested:
    """Load a version. ``labels`` None: leave the model's as they are."""

    request: Request
    order: VersionOrder
    labels: tuple[tuple[str, str], ...] | None = None


@dataclass(frozen=True, slots=True)
class UpdateRequested:
    """Put a version under live traffic in stages."""

    request: Request
    order: VersionOrder
    rollout_id: str
    policy: RolloutPolicy
    behaviour_change: BehaviourChange = BehaviourChange.UNSPECIFIED
    etag: str = ""
    labels: tuple[tuple[str, str], ...] | None = None


@dataclass(frozen=True, slots=True)
class DeleteModelRequested:
    """Drain everything of a model and forget it."""

    request: Request
    model: str
    force: bool = False
    etag: str = ""


@dataclass(frozen=True, slots=True)
class DeleteVersionRequested:
    """Drain and unload one version and forget it."""

    request: Request
    model: str
    version: str
    force: bool = False


@dataclass(frozen=True, slots=True)
class ConfigureRequested:
    """Change what callers set on a model; None leaves a field as it is.

    ``pins``: versions to pin or to unpin; the others stay as they are, so that of two changes at once neither undoes the other.
    """

    request: Request
    model: str
    labels: tuple[tuple[str, str], ...] | None = None
    pins: tuple[tuple[str, bool], ...] = ()
    etag: str = ""


@dataclass(frozen=True, slots=True)
class PauseRequested:
    """Stop a rollout from going on; it still comes back on FAIL."""

    request: Request
    model: str
    rollout_id: str


@dataclass(frozen=True, slots=True)
class ResumeRequested:
    """Let a paused rollout go on."""

    request: Request
    model: str
    rollout_id: str


@dataclass(frozen=True, slots=True)
class AbortRequested:
    """Roll back."""

    request: Request
    model: str
    rollout_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """Cancel an operation: an update is aborted, a load is given up."""

    request: Request
    target_operation_id: str


@dataclass(frozen=True, slots=True)
class DeleteOperationRequested:
    """Forget an operation that is done, and with it its request id."""

    request: Request
    target_operation_id: str


@dataclass(frozen=True, slots=True)
class PromoteRequested:
    """Go one stage on without waiting for the gates; audited with its reason. ``stage``: the one to leave; 0: whichever it is."""

    request: Request
    model: str
    rollout_id: str
    reason: str
    stage: int = 0


# --- planning ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InstancePlaced:
    """The planner found room. ``reservation_epoch``: what it read."""

    now_s: float
    instance: InstanceKey
    placement: Placement
    reservation_epoch: int


@dataclass(frozen=True, slots=True)
class PlacementRefused:
    """The planner found no room."""

    now_s: float
    instance: InstanceKey
    failure: Failure
    reservation_epoch: int


# --- engines: every one carries (instance, generation) -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EngineReady:
    """The engine has loaded the version and listens.

    Attributes:
        endpoints: where it can be called, one for each protocol.
        leader_id: what the engine's side calls the session's leading process; opaque.
    """

    now_s: float
    instance: InstanceKey
    generation: int
    endpoints: tuple[Endpoint, ...]
    leader_id: str


@dataclass(frozen=True, slots=True)
class ProbesPassed:
    """Real inferences came back right."""

    now_s: float
    instance: InstanceKey
    generation: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ProbesFailed:
    """A real inference failed or came back wrong."""

    now_s: float
    instance: InstanceKey
    generation: int
    detail: str


@dataclass(frozen=True, slots=True)
class EngineLost:
    """The process is known to be dead."""

    now_s: float
    instance: InstanceKey
    generation: int
    detail: str


@dataclass(frozen=True, slots=True)
class EngineStuck:
    """The process lives and makes no progress."""

    now_s: float
    instance: InstanceKey
    generation: int
    detail: str


@dataclass(frozen=True, slots=True)
class EngineGaveUp:
    """Trying again will not help. While stopping: the process will not die."""

    now_s: float
    instance: InstanceKey
    generation: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class EngineDrained:
    """No call in flight and none arrived lately, or the deadline came; ``cut_count``: calls that were cut."""

    now_s: float
    instance: InstanceKey
    generation: int
    cut_count: int = 0


@dataclass(frozen=True, slots=True)
class EngineStopped:
    """The process has gone and its memory is back."""

    now_s: float
    instance: InstanceKey
    generation: int


@dataclass(frozen=True, slots=True)
class MemoryMeasured:
    """What the process really takes, above a warm idle engine. ``usage``: its peaks and what they speak of; None: it cannot tell."""

    now_s: float
    instance: InstanceKey
    generation: int
    measured_bytes: int
    usage: MemoryUsage | None = None


@dataclass(frozen=True, slots=True)
class ReadingTaken:
    """A process's peaks beside what the formulas give for the batch that it computed."""

    now_s: float
    key: EngineKey
    reading: Reading


@dataclass(frozen=True, slots=True)
class RequantisationMeasured:
    """How far a version is from itself in INT8."""

    now_s: float
    version: VersionKey
    measured: Requantised


# --- traffic -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RoutesProgressed:
    """Who has a model's routes now.

    ``acknowledged``: every subscriber that is not stale has them. ``stale``: names of silent subscribers.
    """

    now_s: float
    model: str
    epoch: int
    acknowledged: bool
    acknowledged_count: int
    subscriber_count: int
    stale: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RoutesRefused:
    """A subscriber refused what this epoch changed, having accepted the one before."""

    now_s: float
    model: str
    epoch: int
    node: str
    detail: str


# --- gates ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GatesJudged:
    """The verdicts of all gates on one window of one stage."""

    now_s: float
    model: str
    rollout_id: str
    stage: int
    evidence_window: int
    verdicts: tuple[Verdict, ...]


# --- time and recovery ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tick:
    """Time went on."""

    now_s: float


@dataclass(frozen=True, slots=True)
class FoundEngine:
    """An engine that was found alive at the start.

    Attributes:
        endpoints: where it can be called; empty where it does not listen yet.
        leader_id: what the engine's side calls the session's leading process; opaque.
    """

    instance: InstanceKey
    generation: int
    endpoints: tuple[Endpoint, ...]
    leader_id: str


@dataclass(frozen=True, slots=True)
class Recovered:
    """The daemon started with a stored state; these engines were found alive."""

    now_s: float
    found: tuple[FoundEngine, ...] = ()


CallerEvent = (
    LoadRequested
    | UpdateRequested
    | DeleteModelRequested
    | DeleteVersionRequested
    | ConfigureRequested
    | PauseRequested
    | ResumeRequested
    | AbortRequested
    | CancelRequested
    | DeleteOperationRequested
    | PromoteRequested
)
PlacementEvent = InstancePlaced | PlacementRefused
EngineEvent = (
    EngineReady
    | ProbesPassed
    | ProbesFailed
    | EngineLost
    | EngineStuck
    | EngineGaveUp
    | EngineDrained
    | EngineStopped
    | MemoryMeasured
)
TrafficEvent = RoutesProgressed | RoutesRefused
Event = (
    CallerEvent
    | PlacementEvent
    | EngineEvent
    | ReadingTaken
    | RequantisationMeasured
    | TrafficEvent
    | GatesJudged
    | Tick
    | Recovered
)
