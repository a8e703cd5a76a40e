"""Facts: what adapters saw, and time.

A fact may come late or twice and is never refused; what can be refused is a command.
"""

from __future__ import annotations

from dataclasses import dataclass

from echoplaned.core.endpoints import Endpoint
from echoplaned.core.engine_events import EngineEvent, Int8BaselineMeasured, MemorySampled
from echoplaned.core.failure import FailureDetail
from echoplaned.core.fault import EffectKey
from echoplaned.core.ids import InstanceKey
from echoplaned.core.memory import MeasuredMemory
from echoplaned.core.placement import Placement
from echoplaned.core.plan import Plan
from echoplaned.core.rollout_state import Verdict

# --- planning ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InstancePlaced:
    """The planner found room for an instance.

    Attributes:
        now_s: when, seconds since the epoch.
        instance: the instance that was to be placed.
        placement: its node, and what it is to hold of each device there.
        reservation_epoch: ``State.reservation_epoch`` that the planner read; an older one makes the answer stale.
        plan: with a shorter context than the one that the version was admitted with; None: as it was admitted.
    """

    now_s: float
    instance: InstanceKey
    placement: Placement
    reservation_epoch: int
    plan: Plan | None = None


@dataclass(frozen=True, slots=True)
class PlacementRefused:
    """The planner found no room for an instance.

    Attributes:
        now_s: when, seconds since the epoch.
        instance: the instance that was to be placed.
        failure: why there is none, and what would fit.
        reservation_epoch: ``State.reservation_epoch`` that the planner read; an older one makes the answer stale.
    """

    now_s: float
    instance: InstanceKey
    failure: FailureDetail
    reservation_epoch: int


@dataclass(frozen=True, slots=True)
class PlacementDelayed:
    """Reservations leave room for an instance, but the measured memory does not.

    Freed memory may not be back yet.

    Attributes:
        now_s: when, seconds since the epoch.
        instance: the instance that was to be placed.
        reason: what is waited for, for people.
        reservation_epoch: ``State.reservation_epoch`` that the planner read; an older one makes the answer stale.
    """

    now_s: float
    instance: InstanceKey
    reason: str
    reservation_epoch: int


@dataclass(frozen=True, slots=True)
class DeviceMemoryMeasured:
    """The memory of the devices was measured.

    Attributes:
        now_s: when, seconds since the epoch.
        devices: one measurement a device; those that could not be measured are left out.
    """

    now_s: float
    devices: tuple[MeasuredMemory, ...]


# --- traffic -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RoutesProgressed:
    """How many subscribers have a model's newest routes now.

    Attributes:
        now_s: when, seconds since the epoch.
        model: id of the model.
        epoch: number of the routes; others than the newest are stale.
        acknowledged: whether every subscriber that is not stale has them.
        acknowledged_count: subscribers that have them.
        subscriber_count: subscribers of the model's routes, stale ones included.
        stale: names of subscribers that are silent for too long.
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
    """A subscriber with traffic refused what this epoch changed.

    It had accepted the one before.

    Attributes:
        now_s: when, seconds since the epoch.
        model: id of the model.
        epoch: number of the routes; others than the newest are stale.
        node: name of the subscriber.
        detail: what it said.
    """

    now_s: float
    model: str
    epoch: int
    node: str
    detail: str


@dataclass(frozen=True, slots=True)
class RoutesHeld:
    """Subscribers refuse what this epoch changed, and none of the model's has traffic.

    Attributes:
        now_s: when, seconds since the epoch.
        model: id of the model.
        epoch: number of the routes; others than the newest are stale.
        nodes: names of those who refuse; empty: no refusal stands any more, or it is left out.
        detail: what one of them said; empty: none does.
    """

    now_s: float
    model: str
    epoch: int
    nodes: tuple[str, ...]
    detail: str = ""


# --- gates ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GatesJudged:
    """The verdicts of all gates on one evidence window of one stage.

    Attributes:
        now_s: when, seconds since the epoch.
        model: id of the model.
        rollout_id: id of the rollout.
        stage: the stage that was judged, from 1.
        evidence_window: ``Rollout.evidence_window`` that was judged; another one is stale.
        verdicts: one a gate.
    """

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
        now_s: when, seconds since the epoch.
        key: key of the effect.
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
    """Time went on; nothing else happened.

    Attributes:
        now_s: the time now, seconds since the epoch.
    """

    now_s: float


@dataclass(frozen=True, slots=True)
class FoundEngine:
    """An engine that was found alive at the start.

    Attributes:
        instance: the instance whose engine it is.
        generation: number of its engine session, from 1.
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
        now_s: when, seconds since the epoch.
        found: engines that were found alive.
        clock_shift_s: seconds by which the clock was put forward since the state was stored: its times are that much too early.
    """

    now_s: float
    found: tuple[FoundEngine, ...] = ()
    clock_shift_s: float = 0.0


PlacementEvent = InstancePlaced | PlacementRefused | PlacementDelayed
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
