"""Facts of engines, each with its instance and its engine session's number."""

from __future__ import annotations

from dataclasses import dataclass

from echoplaned.core.behaviour import Int8Baseline
from echoplaned.core.calibration import EngineKey, MemorySample, MemoryUsage
from echoplaned.core.endpoints import Endpoint
from echoplaned.core.engine_figures import EngineFigures
from echoplaned.core.failure import FailureDetail
from echoplaned.core.ids import InstanceKey, VersionKey


@dataclass(frozen=True, slots=True)
class EngineReady:
    """The engine has loaded the version and listens.

    Attributes:
        now_s: when, seconds since the epoch.
        instance: the instance whose engine it is.
        generation: number of its engine session, from 1; another than the instance's is stale.
        endpoints: where it can be called, one for each protocol.
        leader_id: what the engine's side calls the session's leading process; opaque.
        engine_build: build of the engine that serves, which the version keeps; empty: nothing is kept.
    """

    now_s: float
    instance: InstanceKey
    generation: int
    endpoints: tuple[Endpoint, ...]
    leader_id: str
    engine_build: str = ""


@dataclass(frozen=True, slots=True)
class ProbesPassed:
    """Real inferences came back right.

    Attributes:
        now_s: when, seconds since the epoch.
        instance: the instance that was probed.
        generation: number of its engine session, from 1.
        detail: how many passed of how many, for people; may be empty.
    """

    now_s: float
    instance: InstanceKey
    generation: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ProbesFailed:
    """A real inference failed or came back wrong.

    Attributes:
        now_s: when, seconds since the epoch.
        instance: the instance that was probed.
        generation: number of its engine session, from 1.
        detail: what was wrong, for people.
    """

    now_s: float
    instance: InstanceKey
    generation: int
    detail: str


@dataclass(frozen=True, slots=True)
class EngineLost:
    """The process is known to be dead.

    Attributes:
        now_s: when it was noticed, seconds since the epoch.
        instance: the instance whose process it was.
        generation: number of its engine session, from 1.
        detail: what was seen of its end, for people.
    """

    now_s: float
    instance: InstanceKey
    generation: int
    detail: str


@dataclass(frozen=True, slots=True)
class EngineStuck:
    """The process lives and makes no progress.

    Attributes:
        now_s: when it was noticed, seconds since the epoch.
        instance: the instance whose process it is.
        generation: number of its engine session, from 1.
        detail: what was seen of it, for people.
    """

    now_s: float
    instance: InstanceKey
    generation: int
    detail: str


@dataclass(frozen=True, slots=True)
class EngineSilent:
    """The process has not reported for longer than it usually does; it may be stuck.

    Attributes:
        now_s: when it was noticed, seconds since the epoch.
        instance: the instance whose process it is.
        generation: number of its engine session, from 1.
    """

    now_s: float
    instance: InstanceKey
    generation: int


@dataclass(frozen=True, slots=True)
class EngineReporting:
    """A process that was silent reports again.

    Attributes:
        now_s: when, seconds since the epoch.
        instance: the instance whose process it is.
        generation: number of its engine session, from 1.
    """

    now_s: float
    instance: InstanceKey
    generation: int


@dataclass(frozen=True, slots=True)
class EngineGaveUp:
    """Trying again will not help; of a stopping instance: its process will not die.

    Attributes:
        now_s: when, seconds since the epoch.
        instance: the instance whose engine it is.
        generation: number of its engine session, from 1.
        failure: why, and what to do.
    """

    now_s: float
    instance: InstanceKey
    generation: int
    failure: FailureDetail


@dataclass(frozen=True, slots=True)
class EngineDrained:
    """An instance has no call in flight and none arrived lately, or its deadline came.

    Attributes:
        now_s: when, seconds since the epoch.
        instance: the instance that was drained.
        generation: number of its engine session, from 1.
        cut_count: calls that were still in flight and are cut, 0 or more.
    """

    now_s: float
    instance: InstanceKey
    generation: int
    cut_count: int = 0


@dataclass(frozen=True, slots=True)
class EngineStopped:
    """The process has gone and its memory is back.

    Attributes:
        now_s: when, seconds since the epoch.
        instance: the instance whose process it was.
        generation: number of its engine session, from 1.
    """

    now_s: float
    instance: InstanceKey
    generation: int


@dataclass(frozen=True, slots=True)
class MemoryMeasured:
    """The memory that an instance's process really takes was measured.

    Attributes:
        now_s: when, seconds since the epoch.
        instance: the instance whose process it is.
        generation: number of its engine session, from 1.
        measured_bytes: what it takes, bytes above a standby process.
        usage: its peaks and the batch that they speak of; None: it cannot tell.
        figures: what the engine says of itself; None: nothing.
    """

    now_s: float
    instance: InstanceKey
    generation: int
    measured_bytes: int
    usage: MemoryUsage | None = None
    figures: EngineFigures | None = None


@dataclass(frozen=True, slots=True)
class MemorySampled:
    """A process's peaks were set beside what the formulas give for its largest batch.

    Attributes:
        now_s: when, seconds since the epoch.
        key: the engine and device that the sample is kept under.
        sample: measured and computed bytes.
    """

    now_s: float
    key: EngineKey
    sample: MemorySample


@dataclass(frozen=True, slots=True)
class Int8BaselineMeasured:
    """How far a version is from its own INT8 copy was measured.

    Attributes:
        now_s: when, seconds since the epoch.
        version: the version.
        measured: the mean distance, and what it rests on.
    """

    now_s: float
    version: VersionKey
    measured: Int8Baseline


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
