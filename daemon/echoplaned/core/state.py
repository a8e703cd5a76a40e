"""The state that one loop owns. Frozen: a step builds a new one and shares what did not change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from echoplaned.core.behaviour import BehaviourReport, Int8Baseline
from echoplaned.core.calibration import SampleWindow
from echoplaned.core.endpoints import Endpoint
from echoplaned.core.engine_figures import EngineFigures
from echoplaned.core.facts import ModelFacts
from echoplaned.core.failure import FailureDetail
from echoplaned.core.fault import AdapterFault
from echoplaned.core.ids import LOCAL_PRINCIPAL, InstanceKey, VersionKey
from echoplaned.core.memory import MeasuredMemory
from echoplaned.core.placement import Placement
from echoplaned.core.plan import Device, Plan
from echoplaned.core.routes_view import ModelRoutes
from echoplaned.core.spec import BehaviourChange, RolloutPolicy, Tier, VersionSpec

WEIGHT_TOTAL_PPM = 1_000_000


class InstanceState(StrEnum):
    """The life of one engine process; see ``tables.INSTANCE_TABLE``."""

    PENDING = "PENDING"
    STARTING = "STARTING"
    PROBING = "PROBING"
    READY = "READY"
    DRAINING = "DRAINING"
    STOPPING = "STOPPING"
    GONE = "GONE"


class StopOutcome(StrEnum):
    """What a stopping instance becomes when its process has gone."""

    GONE = "GONE"
    FAILED = "FAILED"
    RESTART = "RESTART"


@dataclass(frozen=True, slots=True)
class Instance:
    """One replica of a version, as one engine session after another.

    Attributes:
        generation: rises with every new session.
        placement: its node, and what it reserves of each device there; None: nothing yet.
        endpoints: where it can be called, one for each protocol; empty until it is ready for the first time.
        leader_id: what its engine's side calls the session's leading process; opaque, empty while there is none.
        failures: in a row, forgotten after a minute of READY.
        restart_at_s: while set, a STARTING instance waits for that time.
        alarm: the session does not end.
        silent: it has not reported for a while; nobody calls it who need not.
        held_since_s: while set, the end of a STOPPING instance's process is held back (``holding.py``); since when.
        figures: what its engine said of itself after its last start; None: nothing.
    """

    key: InstanceKey
    generation: int = 1
    state: InstanceState = InstanceState.PENDING
    outcome: StopOutcome | None = None
    placement: Placement | None = None
    endpoints: tuple[Endpoint, ...] = ()
    leader_id: str = ""
    failures: int = 0
    restart_at_s: float | None = None
    ready_since_s: float | None = None
    drain_deadline_s: float | None = None
    measured_bytes: int = 0
    failure: FailureDetail | None = None
    alarm: bool = False
    silent: bool = False
    held_since_s: float | None = None
    figures: EngineFigures | None = None


class VersionState(StrEnum):
    """A version's state; never stored, a fold over its instances (``queries.version_state``)."""

    LOADING = "LOADING"
    READY = "READY"
    DRAINING = "DRAINING"
    COLD = "COLD"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class CacheCounts:
    """How often a load found the version already there."""

    hits: int = 0
    misses: int = 0
    last_hit_tier: Tier | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a model.

    Attributes:
        key: its model and its name.
        spec: what makes its engine what it is.
        facts: what its files say.
        plan: the plan that it was admitted with.
        context_length: what its first reservation chose where the spec asks for none, tokens; kept from then on. 0: none yet, or the
            spec says it.
        requested_tier: where the caller wants it kept.
        desired_tier: where it shall be kept now: as requested while it is wanted, COLD once it is not. COLD: no instance shall exist.
        pinned: whether it is never chosen to make room.
        delete_when_stopped: whether the record goes once no instance is left.
        instances: its replicas, in the order in which they were added.
        next_ordinal: of the next replica.
        failure: why it is down; blocks new instances until the next load.
        cache: how often a load found it there.
        create_time_s: when it was made known, seconds since the epoch, as are the other times.
        load_started_s: when its newest load began.
        load_duration_s: how long that took until its first READY instance; None: it has had none.
        int8_baseline: how far it is from itself in INT8, where that was measured.
    """

    key: VersionKey
    spec: VersionSpec
    facts: ModelFacts
    plan: Plan
    context_length: int = 0
    requested_tier: Tier = Tier.HOT
    desired_tier: Tier = Tier.HOT
    pinned: bool = False
    delete_when_stopped: bool = False
    instances: tuple[Instance, ...] = ()
    next_ordinal: int = 0
    failure: FailureDetail | None = None
    cache: CacheCounts = CacheCounts()
    create_time_s: float = 0.0
    load_started_s: float = 0.0
    load_duration_s: float | None = None
    int8_baseline: Int8Baseline | None = None


class Phase(StrEnum):
    """A rollout's phase; see ``tables.ROLLOUT_TABLE``."""

    PREPARING = "PREPARING"
    SHIFTING = "SHIFTING"
    OBSERVING = "OBSERVING"
    SOAKING = "SOAKING"
    RELEASING = "RELEASING"
    REVERTING = "REVERTING"
    CLEANING = "CLEANING"
    SUCCEEDED = "SUCCEEDED"
    ROLLED_BACK = "ROLLED_BACK"
    FAILED = "FAILED"
    DELETED = "DELETED"


TERMINAL_PHASES = frozenset({Phase.SUCCEEDED, Phase.ROLLED_BACK, Phase.FAILED, Phase.DELETED})


class GateVerdict(StrEnum):
    """What a gate says of a stage."""

    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    HOLD = "HOLD"
    FAIL = "FAIL"


class Evidence(StrEnum):
    """Where a verdict's counts come from."""

    LIVE = "LIVE"
    PROBES = "PROBES"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One gate's verdict on one stage. ``counts``: named totals (requests, errors by version); ``confidence`` in [0, 1].

    ``behaviour``: what the gate ``echo`` measured.
    """

    gate: str
    verdict: GateVerdict
    reason: str
    confidence: float = 0.0
    counts: tuple[tuple[str, int], ...] = ()
    evidence: Evidence = Evidence.LIVE
    behaviour: BehaviourReport | None = None


class Hold(StrEnum):
    """Why a rollout stays where it is. Beside it stands a text for people, which nothing is decided by."""

    GATES = "GATES"
    """A gate says HOLD, or has not been heard."""
    EXPIRED = "EXPIRED"
    """The stage's time is over, and its policy says that it waits for a person."""
    OLD_LOST = "OLD_LOST"
    BOTH_LOST = "BOTH_LOST"
    ADAPTER_FAILED = "ADAPTER_FAILED"
    """The routes cannot be published."""
    REFUSED_BY_IDLE = "REFUSED_BY_IDLE"
    """Subscribers refuse the routes, and none of the model's has any traffic that would make its word count."""


class EntryKind(StrEnum):
    """What a line of a rollout's history tells. MOVED: the rollout came into the phase of the line."""

    MOVED = "MOVED"
    CREATED = "CREATED"
    PAUSED = "PAUSED"
    RESUMED = "RESUMED"
    PROMOTED = "PROMOTED"
    HELD = "HELD"


@dataclass(frozen=True, slots=True)
class RolloutEntry:
    """One line of a rollout's append-only history. ``stage`` counts from 1; 0 is before the first."""

    sequence: int
    time_s: float
    phase: Phase
    stage: int
    text: str
    verdicts: tuple[Verdict, ...] = ()
    kind: EntryKind = EntryKind.MOVED


@dataclass(frozen=True, slots=True)
class Rollout:
    """One update of a model.

    ``stage`` counts from 1 to ``len(policy.stages_percent)``. ``cluster_acknowledged``: the new cluster was acknowledged at weight 1
    before its first share (a gRPC client asks for a cluster only after a route named it). ``evidence_window``: rises whenever evidence
    starts anew; a verdict for an older window is stale. ``observe_since_s``: when this window's observation began.
    ``outcome``: the terminal phase that CLEANING leads to. ``ending``: why it did not succeed. ``hold``: why it stays where it is, None: it
    does not; ``held_reason``: the same for people. Both are observed: after a start they are found out anew.
    """

    rollout_id: str
    model: str
    from_version: str
    to_version: str
    policy: RolloutPolicy
    operation_id: str
    behaviour_change: BehaviourChange = BehaviourChange.UNSPECIFIED
    phase: Phase = Phase.PREPARING
    stage: int = 0
    cluster_acknowledged: bool = False
    evidence_window: int = 0
    paused: bool = False
    hold: Hold | None = None
    held_reason: str = ""
    create_time_s: float = 0.0
    phase_since_s: float = 0.0
    observe_since_s: float | None = None
    end_time_s: float | None = None
    outcome: Phase | None = None
    ending: FailureDetail | None = None
    verdicts: tuple[Verdict, ...] = ()
    history: tuple[RolloutEntry, ...] = ()
    stale_subscribers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RoutesProgress:
    """Who has the newest routes; observed, never persisted. ``acknowledged``: every subscriber that is not stale has them.

    ``since_s``: when they were handed out. ``refused_by``: names of subscribers whose refusal holds a rollout and does not roll it back;
    ``refusal``: what one of them said.
    """

    epoch: int = 0
    since_s: float = 0.0
    acknowledged: bool = False
    acknowledged_count: int = 0
    subscriber_count: int = 0
    stale: tuple[str, ...] = ()
    refused_by: tuple[str, ...] = ()
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class MemoryWait:
    """An instance whose bytes are free by what is reserved, and not as they are measured: it is placed once they are.

    Attributes:
        instance: who waits; PENDING.
        since_s: since when.
        reason: what it waits for, for people.
        looks: how often the planner was asked again since.
    """

    instance: InstanceKey
    since_s: float
    reason: str
    looks: int = 0


@dataclass(frozen=True, slots=True)
class Model:
    """A model with its versions. ``routes``: what is to be published (desired); ``progress``: what is known of it (observed).

    ``serving_version``: the version that has the traffic when no rollout is under way. ``faults``: of adapters, of effects that still
    hold; observed, as is ``waits``: instances that wait for memory.
    """

    model_id: str
    versions: Mapping[str, Version] = field(default_factory=lambda: MappingProxyType({}))
    serving_version: str = ""
    rollout: Rollout | None = None
    past_rollouts: tuple[Rollout, ...] = ()
    routes: ModelRoutes | None = None
    progress: RoutesProgress = RoutesProgress()
    faults: tuple[AdapterFault, ...] = ()
    waits: tuple[MemoryWait, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    deleting: str = ""  # the id of the operation that deletes it; empty: none
    create_time_s: float = 0.0
    update_time_s: float = 0.0


class OperationKind(StrEnum):
    """What an operation does."""

    LOAD = "LOAD"
    UPDATE = "UPDATE"
    DELETE_MODEL = "DELETE_MODEL"
    DELETE_VERSION = "DELETE_VERSION"


@dataclass(frozen=True, slots=True)
class Operation:
    """Long work that a caller started.

    Attributes:
        request_id: by which the caller repeats it; empty: it does not.
        request_digest: of the request's body without that id; tells a repeat from a reuse.
        principal: who started it.
        plan: what it was admitted with; None: it loads nothing.
    """

    operation_id: str
    kind: OperationKind
    model: str
    version: str = ""
    rollout_id: str = ""
    request_id: str = ""
    request_digest: str = ""
    plan: Plan | None = None
    create_time_s: float = 0.0
    end_time_s: float | None = None
    done: bool = False
    failure: FailureDetail | None = None
    cancelled: bool = False
    principal: str = LOCAL_PRINCIPAL


@dataclass(frozen=True, slots=True)
class State:
    """Everything. ``store_epoch``: of the last durable change. ``reservation_epoch``: rises with every change of a reservation.

    ``calibrations``: what was measured of engines, in the order of their keys. ``issued``: by model, keys of the effects
    that were handed out and still hold; observed, never persisted, so that after a crash every effect that the state implies is handed
    out again. ``clients_back_s``: when every client has found this daemon again, in
    seconds since the epoch; observed. ``measured``: devices as they were last looked at, ``short_devices``: those of them where others
    hold what is promised to instances, ``released_s``: when an instance last gave its bytes back; observed.
    """

    devices: tuple[Device, ...] = ()
    models: Mapping[str, Model] = field(default_factory=lambda: MappingProxyType({}))
    operations: Mapping[str, Operation] = field(default_factory=lambda: MappingProxyType({}))
    calibrations: tuple[SampleWindow, ...] = ()
    store_epoch: int = 0
    reservation_epoch: int = 0
    route_epoch: int = 0
    announce_sequence: int = 0
    stale_event_count: int = 0
    clients_back_s: float = 0.0
    measured: tuple[MeasuredMemory, ...] = ()
    short_devices: tuple[str, ...] = ()
    released_s: float | None = None
    issued: Mapping[str, frozenset[tuple[str | int, ...]]] = field(default_factory=lambda: MappingProxyType({}))
