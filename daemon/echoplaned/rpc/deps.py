"""What the servicers need of the rest of the daemon; the composition root fills it in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from echoplaned.core.ids import VersionKey
from echoplaned.core.measure import Histogram
from echoplaned.engine_kinds import EngineKind
from echoplaned.ports.emit import Emit
from echoplaned.ports.handle import Handle
from echoplaned.ports.leaders import PidOf, no_pid
from echoplaned.ports.planning import Planning
from echoplaned.ports.probing import LastProbeOf, Prober, no_probe
from echoplaned.ports.refusals import RecordedRefusal
from echoplaned.ports.request_counts import CountedBy
from echoplaned.ports.traffic import TrafficSource
from echoplaned.rpc.lifecycle import Lifecycle

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class RpcLimits:
    """What callers may take, all of them together; half of it is kept for connections that hold little.

    Attributes:
        max_models: models.
        max_versions_per_model: versions of one model.
        max_open_operations: operations under way.
        max_watchers: streams and calls that wait for a change, health's apart.
        max_health_watchers: streams of ``grpc.health.v1.Health/Watch``.
        inspections: checkpoints whose headers are read at once, and as many of which all is.
        max_waiting_inspections: calls that wait for their turn to have one read.
        default_max_concurrency: of a version whose caller names none.
    """

    max_models: int = 1000
    max_versions_per_model: int = 100
    max_open_operations: int = 100
    max_watchers: int = 1000
    max_health_watchers: int = 20_000
    inspections: int = 2
    max_waiting_inspections: int = 200
    default_max_concurrency: int = 8


@dataclass(frozen=True, slots=True)
class XdsTotals:
    """The xDS server in numbers: streams that are open, and responses since the daemon started."""

    streams: int = 0
    pushes: int = 0
    acks: int = 0
    nacks: int = 0


class RpcObserver(Protocol):
    """Receives one call for every RPC that ended; must return at once."""

    def rpc_ended(self, method: str, code: str, seconds: float) -> None:
        """``method``: ``/package.Service/Method``; ``code``: gRPC code by name, for example ``NOT_FOUND``."""
        ...


class NoObserver:
    """Counts nothing."""

    def rpc_ended(self, method: str, code: str, seconds: float) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class RpcDeps:
    """Everything that servicers call.

    ``engines``: by kind, as callers name them. ``latencies``: of a version, one histogram a measure.
    ``monotonic``: seconds of a clock that never goes back. ``start_time_s``: when the daemon started, seconds since the epoch.
    ``refusals``: what subscribers refused of a model's routes, the latest first. ``alarms``: what else somebody should look at.
    ``pid_of``: the process that leads an instance's engine. ``emit``: takes facts, a probe that failed among them. ``last_probe``: what
    the daemon's own probes of a serving engine say.
    """

    handle: Handle
    planning: Planning
    prober: Prober
    engines: Mapping[str, EngineKind]
    lifecycle: Lifecycle
    monotonic: Callable[[], float]
    daemon_version: str
    start_time_s: float
    traffic: Mapping[CountedBy, TrafficSource] = field(default_factory=dict)
    limits: RpcLimits = RpcLimits()
    xds: Callable[[], XdsTotals] = XdsTotals
    latencies: Callable[[VersionKey], tuple[Histogram, ...]] = lambda _version: ()
    refusals: Callable[[str], tuple[RecordedRefusal, ...]] = lambda _model: ()
    pid_of: PidOf = no_pid
    store_writable: Callable[[], bool] = lambda: True
    alarms: Callable[[], tuple[str, ...]] = lambda: ()
    emit: Emit = lambda _event: None
    last_probe: LastProbeOf = no_probe
    observer: RpcObserver = field(default_factory=NoObserver)
