"""What the servicers need of the rest of the daemon.

The composition root fills it in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from echoplaned.core.ids import VersionKey
from echoplaned.core.measure import Histogram
from echoplaned.engine_kinds import EngineKind
from echoplaned.ports.emit import Emit
from echoplaned.ports.gateway import GatewayStatus, ReadGateway
from echoplaned.ports.handle import Handle
from echoplaned.ports.keys import FindCaller, Keys
from echoplaned.ports.leaders import PidOf, no_pid
from echoplaned.ports.planning import Planning
from echoplaned.ports.probing import LastProbeOf, Prober, no_probe
from echoplaned.ports.refusals import RecordedRefusal
from echoplaned.ports.request_counts import CountedBy
from echoplaned.ports.tokens import ReadTokens, TokenReport
from echoplaned.ports.traffic import TrafficSource
from echoplaned.ports.unloaded import NothingUnloaded, UnloadedModels
from echoplaned.ports.usage import ReadUsage, UsageReport
from echoplaned.rpc.lifecycle import Lifecycle

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class RpcLimits:
    """What callers may take, all of them together.

    Half of it is kept for connections that hold little.

    Attributes:
        max_models: models at most.
        max_versions_per_model: versions of one model at most.
        max_open_operations: operations under way at most.
        max_watchers: streams and calls that wait for a change, at most, health's apart.
        max_health_watchers: streams of ``grpc.health.v1.Health/Watch`` at most.
        max_request_streams: streams of requests at most (reflection).
        inspections: checkpoints whose headers are read at once, and as many of which all is.
        max_waiting_inspections: calls that wait for their turn to have one read, at most.
        default_max_concurrency: sequences at once of a version whose caller names no number.
    """

    max_models: int = 1000
    max_versions_per_model: int = 100
    max_open_operations: int = 100
    max_watchers: int = 1000
    max_health_watchers: int = 20_000
    max_request_streams: int = 1000
    inspections: int = 2
    max_waiting_inspections: int = 200
    default_max_concurrency: int = 8


@dataclass(frozen=True, slots=True)
class XdsTotals:
    """The xDS server in numbers.

    Attributes:
        streams: streams that are open.
        pushes: responses sent since the daemon started.
        acks: responses that subscribers took since the daemon started.
        nacks: responses that subscribers refused since the daemon started.
    """

    streams: int = 0
    pushes: int = 0
    acks: int = 0
    nacks: int = 0


class RpcObserver(Protocol):
    """Receives one call for every RPC that ended; must return at once."""

    def rpc_ended(self, method: str, code: str, seconds: float) -> None:
        """Take in that a call ended.

        Args:
            method: ``/package.Service/Method``.
            code: gRPC code by name, for example ``NOT_FOUND``.
            seconds: how long it took.
        """
        ...


class NoObserver:
    """Counts nothing."""

    def rpc_ended(self, method: str, code: str, seconds: float) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class RpcDeps:
    """Everything that servicers call.

    Attributes:
        handle: the loop.
        planning: the questions about plans.
        prober: makes probes when a caller asks for them.
        engines: engine kinds that are known, configured or not, by the names that callers use.
        lifecycle: whether the daemon stops.
        monotonic: seconds of a clock that never goes back.
        daemon_version: the daemon's version, as text.
        start_time_s: when the daemon started, seconds since the epoch.
        traffic: running totals of requests, by who counted them; empty: nobody does.
        limits: what callers may take.
        xds: returns the xDS server's numbers.
        latencies: returns a version's latencies, one histogram a measure; empty: not counted.
        refusals: returns what subscribers refused of a model's routes, the latest first.
        pid_of: returns the id of the process that leads an instance's engine.
        store_writable: returns whether the store can be written.
        alarms: returns what else somebody should look at, one sentence each.
        emit: takes facts, a probe that failed among them.
        last_probe: returns what the daemon's own probes of a serving engine say.
        observer: is told of every call that ended.
        gateway: returns the state of the gateway's Envoy.
        engine_versions: version of each configured kind, as measurements are kept under it.
        usage: returns what the gateway's callers used.
        tokens: returns what the engines counted of tokens, by version.
        unloaded: keeps how models were loaded that the repository unloaded.
        keys: the keys of the gateway's callers; None: there are none to be made here.
        find_caller: returns who calls through the gateway.
        scoped_models: returns the ids of models that keys are for.
        socket: the unix socket that the API answers on; empty: there is none.
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
    gateway: ReadGateway = GatewayStatus
    engine_versions: Mapping[str, str] = field(default_factory=dict)
    usage: ReadUsage = UsageReport
    tokens: ReadTokens = TokenReport
    unloaded: UnloadedModels = field(default_factory=NothingUnloaded)
    keys: Keys | None = None
    find_caller: FindCaller = lambda _client: None
    scoped_models: Callable[[], frozenset[str]] = frozenset
    socket: str = ""
