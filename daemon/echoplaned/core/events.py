"""Facts: what adapters saw, and time. A fact may come late or twice and is never refused; what can be refused is a command."""

from __future__ import annotations

from dataclasses import dataclass

from echoplaned.core.behaviour import Int8Baseline
from echoplaned.core.calibration import EngineKey, MemorySample, MemoryUsage
from echoplaned.core.endpoints import Endpoint
from echoplaned.core.engine_figures import EngineFigures
from echoplaned.core.failure import FailureDetail
from echoplaned.core.fault import EffectKey
from echoplaned.core.ids import InstanceKey, VersionKey
from echoplaned.core.memory import MeasuredMemory
from echoplaned.core.placement import Placement
from echoplaned.core.plan import Plan
from echoplaned.core.state import Verdict

# --- planning ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InstancePlaced:
    """The planner found room.

    Attributes:
        placement: where.
        reservation_epoch: what it read.
        plan: with a shorter context than the one that the version was admitted with; None: as it was admitted.
    """

    now_s: float
    instance: InstanceKey
    placement: Placement
    reservation_epoch: int
    plan: Plan | None = None


@dataclass(frozen=True, slots=True)
class PlacementRefused:
    """The planner found no room."""

    now_s: float
    instance: InstanceKey
    failure: FailureDetail
    reservation_epoch: int


@dataclass(frozen=True, slots=True)
class PlacementDelayed:
    """There is room by what is reserved, and not as it is measured: freed memory may not be back yet.

    Attributes:
        reason: what is waited for, for people.
        reservation_epoch: what the planner read.
    """

    now_s: float
    instance: InstanceKey
    reason: str
    reservation_epoch: int


@dataclass(frozen=True, slots=True)
class DeviceMemoryMeasured:
    """Devices were looked at; those that could not be are left out."""

    now_s: float
    devices: tuple[MeasuredMemory, ...]


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
class EngineSilent:
    """The process has not reported for longer than it usually does; it may be stuck."""

    now_s: float
    instance: InstanceKey
    generation: int


@dataclass(frozen=True, slots=True)
class EngineReporting:
    """A process that was silent reports again."""

    now_s: float
    instance: InstanceKey
    generation: int


@dataclass(frozen=True, slots=True)
class EngineGaveUp:
    """Trying again will not help. While stopping: the process will not die."""

    now_s: float
    instance: InstanceKey
    generation: int
    failure: FailureDetail


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
    """What the process really takes, above a warm idle engine. ``usage``: its peaks and what they speak of; None: it cannot tell.

    ``figures``: what the engine says of itself; None: nothing.
    """

    now_s: float
    instance: InstanceKey
    generation: int
    measured_bytes: int
    usage: MemoryUsage | None = None
    figures: EngineFigures | None = None


@dataclass(frozen=True, slots=True)
class MemorySampled:
    """A process's peaks beside what the formulas give for the batch that it computed."""

    now_s: float
    key: EngineKey
    sample: MemorySample


@dataclass(frozen=True, slots=True)
class Int8BaselineMeasured:
    """How far a version is from itself in INT8."""

    now_s: float
    version: VersionKey
    measured: Int8Baseline


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
    """A subscriber with traffic refused what this epoch changed, having accepted the one before."""

    now_s: float
    model: str
    epoch: int
    node: str
    detail: str


@dataclass(frozen=True, slots=True)
class RoutesHeld:
    """Subscribers refuse what this epoch changed, and nobody who follows the model has traffic.

    Attributes:
        nodes: their names; empty: no refusal stands any more, or it is left out.
        detail: what one of them said.
    """

    now_s: float
    model: str
    epoch: int
    nodes: tuple[str, ...]
    detail: str = ""


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


# --- adapters ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AdapterFailed:
    """An adapter raised while it did an effect.

    Attributes:
        key: of the effect.
        adapter: which part raised, for people.
        detail: what it raised.
    """

    now_s: float
    key: EffectKey
    adapter: str
    detail: str


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
    """The daemon started with a stored state.

    Attributes:
        found: engines that were found alive.
        clock_shift_s: by how much the clock was put forward since the state was stored: its times are that much too early.
    """

    now_s: float
    found: tuple[FoundEngine, ...] = ()
    clock_shift_s: float = 0.0


PlacementEvent = InstancePlaced | PlacementRefused | PlacementDelayed
EngineEvent = (
    EngineReady
    | ProbesPassed
    | ProbesFailed
    | EngineLost
    | EngineStuck
    | EngineSilent
    | EngineReporting
    | EngineGaveUp
    | EngineDrained
    | EngineStopped
    | MemoryMeasured
)
TrafficEvent = RoutesProgressed | RoutesRefused | RoutesHeld
Event = (
    PlacementEvent
    | EngineEvent
    | MemorySampled
    | Int8BaselineMeasured
    | TrafficEvent
    | GatesJudged
    | DeviceMemoryMeasured
    | AdapterFailed
    | Tick
    | Recovered
)
