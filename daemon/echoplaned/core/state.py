"""The state that one loop owns.

It is frozen: a step builds a new one and shares what did not change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from echoplaned.core.behaviour import Int8Baseline
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
from echoplaned.core.rollout_state import Rollout
from echoplaned.core.routes_view import ModelRoutes
from echoplaned.core.spec import Tier, VersionSpec

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
        key: its version, and its number within it.
        generation: number of its engine session, from 1; rises with every new session.
        state: where it is in its life.
        outcome: what it becomes once its process has gone; None: it is not STOPPING.
        placement: its node, and what it reserves of each device there; None: nothing yet.
        endpoints: where it can be called, one for each protocol; empty until it is ready for the first time.
        leader_id: what its engine's side calls the session's leading process; opaque, empty while there is none.
        failures: in a row, forgotten after a minute of READY.
        restart_at_s: while set, a STARTING instance waits for that time, seconds since the epoch as are the others.
        ready_since_s: when it became READY; None: it has not since its last start.
        drain_deadline_s: when the calls still in flight are cut; None: it is not DRAINING.
        measured_bytes: what its process takes above a standby one; 0: not measured.
        failure: why a session of it was stopped; None: nothing failed.
        alarm: whether its process should have ended and does not.
        silent: whether it has not reported for a while, so that nobody calls it who need not.
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
    """A version's state; it is never stored, but follows from its instances.

    See ``queries.version_state``.
    """

    LOADING = "LOADING"
    READY = "READY"
    DRAINING = "DRAINING"
    COLD = "COLD"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class CacheCounts:
    """How often a load found the version already there.

    Attributes:
        hits: loads that found it.
        misses: loads that did not.
        last_hit_tier: where the last hit found it; None: there was no hit.
    """

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
        engine_build: build of the engine that served it first, and that serves it from then on; empty: none is kept.
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
    engine_build: str = ""


@dataclass(frozen=True, slots=True)
class RoutesProgress:
    """Who has a model's newest routes; observed, never persisted.

    Attributes:
        epoch: number of these routes; 0: there are none.
        since_s: when they were handed out, seconds since the epoch.
        acknowledged: whether every subscriber that is not stale has them.
        acknowledged_count: subscribers that have them.
        subscriber_count: subscribers of the model's routes, stale ones included.
        stale: names of subscribers that are silent for too long, the first ``SUBSCRIBERS_NAMED``.
        stale_count: how many are, from 0.
        refused_by: names of subscribers whose refusal holds a rollout and does not roll it back.
        refusal: what one of them said; empty: none does.
    """

    epoch: int = 0
    since_s: float = 0.0
    acknowledged: bool = False
    acknowledged_count: int = 0
    subscriber_count: int = 0
    stale: tuple[str, ...] = ()
    stale_count: int = 0
    refused_by: tuple[str, ...] = ()
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class MemoryWait:
    """An instance that waits for memory: it is reserved as free, not measured as free.

    Attributes:
        instance: who waits; PENDING.
        since_s: since when, seconds since the epoch.
        reason: what it waits for, for people.
        looks: how often the planner was asked again since.
    """

    instance: InstanceKey
    since_s: float
    reason: str
    looks: int = 0


@dataclass(frozen=True, slots=True)
class Model:
    """A model with its versions: what is desired, and what is observed.

    Attributes:
        model_id: id of the model.
        versions: its versions by id.
        serving_version: id of the version that has the traffic when no rollout is under way; empty: none.
        rollout: the rollout under way; None: none.
        past_rollouts: rollouts that ended, oldest first, at most 100.
        routes: what is to be published; None: never anything yet.
        progress: what is known of these routes; observed.
        faults: faults of adapters, of effects that still hold; observed.
        waits: instances that wait for memory; observed.
        labels: pairs of name and value that callers set.
        aliases: names as people write them; unique over all ids and aliases.
        deleting: id of the operation that deletes it; empty: none.
        create_time_s: when it was made known, seconds since the epoch.
        update_time_s: when it was last configured, or a rollout of it ended; seconds since the epoch.
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
    aliases: tuple[str, ...] = ()
    deleting: str = ""
    create_time_s: float = 0.0
    update_time_s: float = 0.0


class OperationKind(StrEnum):
    """What an operation does."""

    LOAD = "LOAD"
    UPDATE = "UPDATE"
    DELETE_MODEL = "DELETE_MODEL"
    DELETE_VERSION = "DELETE_VERSION"


@dataclass(frozen=True, slots=True)
class JoinedRequest:
    """A request that a running operation answered.

    Attributes:
        request_id: by which the caller repeats it; never empty.
        request_digest: of the request's body without that id; tells a repeat from a reuse.
    """

    request_id: str
    request_digest: str


@dataclass(frozen=True, slots=True)
class Operation:
    """Long work that a caller started.

    Attributes:
        operation_id: id of the operation.
        kind: what it does.
        model: id of the model.
        version: id of the version; empty: it is about the whole model.
        rollout_id: id of the update's rollout; empty: there is none.
        request_id: by which the caller repeats it; empty: it does not.
        request_digest: of the request's body without that id; tells a repeat from a reuse.
        plan: what it was admitted with; None: it loads nothing.
        create_time_s: when it was asked for, seconds since the epoch.
        end_time_s: when it ended, seconds since the epoch; None: it runs.
        done: whether it has ended.
        failure: why it failed; None: it runs, or it succeeded.
        cancelled: whether a caller cancelled it.
        principal: who started it.
        joined: requests for the same work that came while it ran, oldest first; the latest 16.
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
    joined: tuple[JoinedRequest, ...] = ()


@dataclass(frozen=True, slots=True)
class State:
    """Everything that the daemon's loop knows. Observed parts are never persisted.

    Attributes:
        devices: the places that hold models; observed.
        models: by id.
        operations: by id.
        calibrations: what was measured of engines, in the order of their keys.
        store_epoch: number of the last durable change; 0: none yet.
        reservation_epoch: rises with every change of a reservation.
        route_epoch: number of the newest routes of any model; 0: none yet.
        announce_sequence: number of the last announcement; 0: none yet.
        stale_event_count: events that came too late or twice, and changed nothing.
        clients_reconnected_s: when every client has found this daemon again, seconds since the epoch; 0: none has to. Observed.
        measured: devices as they were measured last; observed.
        short_devices: ids of those where others hold what is promised to instances; observed.
        released_s: when an instance last gave its bytes back, seconds since the epoch; None: none did. Observed.
        issued: by model, keys of the effects that were handed out and still hold; observed, so that after a crash every effect
            that the state implies is handed out again.
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
    clients_reconnected_s: float = 0.0
    measured: tuple[MeasuredMemory, ...] = ()
    short_devices: tuple[str, ...] = ()
    released_s: float | None = None
    issued: Mapping[str, frozenset[tuple[str | int, ...]]] = field(default_factory=lambda: MappingProxyType({}))
