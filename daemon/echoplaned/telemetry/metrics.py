"""The daemon's metrics, named by Prometheus' rules.

The rules (https://prometheus.io/docs/practices/naming): base units, ``_total`` for counters.

Counters and histograms are told of what happened. Gauges are read from the newest state when somebody asks, so that nothing is left
over of a model that has gone. Labels take values from closed sets, or from models and versions, of which a bounded number is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from echoplaned.core.failure import Reason
from echoplaned.core.ids import VersionKey
from echoplaned.core.rollout_state import GateVerdict
from echoplaned.core.state import Model, OperationKind, State, Version
from echoplaned.ports.gateway import GatewayState, GatewayStatus, ReadGateway
from echoplaned.ports.tokens import ReadTokens, TokenReport
from echoplaned.ports.traces import TraceCounts
from echoplaned.ports.usage import ReadUsage, UsageReport
from echoplaned.telemetry.device_metrics import of_devices
from echoplaned.telemetry.usage_metrics import of_tokens, of_usage

MAX_VERSIONS_SHOWN = 1000
MAX_METHODS = 200
MAX_GATES = 50
OTHER = "other"
_LOADED = "OK"

_LOAD_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_COMMIT_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_RPC_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)


@dataclass(frozen=True, slots=True)
class XdsTypeCounts:
    """Counts of one xDS resource type since the daemon started.

    Attributes:
        type: short name of the resource type, for example ``CLUSTER``.
        pushes: responses that were sent.
        acks: responses that clients accepted.
        nacks: responses that clients refused.
    """

    type: str
    pushes: int
    acks: int
    nacks: int


@dataclass(frozen=True, slots=True)
class XdsCounts:
    """The xDS server in numbers.

    Attributes:
        streams: ADS streams that are open now.
        by_type: counts of each resource type.
    """

    streams: int = 0
    by_type: tuple[XdsTypeCounts, ...] = ()


def _no_events() -> int:
    return 0


def _no_faults() -> Mapping[str, int]:
    return {}


def _no_traces() -> Mapping[VersionKey, TraceCounts]:
    return {}


@dataclass(frozen=True, slots=True)
class MetricSources:
    """Where gauges come from.

    Each is called by the thread that serves a request, so it must be cheap and only read.

    Attributes:
        state: newest state.
        xds: counts of the xDS server.
        events: number of events that the loop has processed since the daemon started.
        traces: counts of request traces, by version.
        faults: how often each adapter raised since the daemon started, by its name.
        gateway: status of the gateway, whose state is ``OFF`` where there is none.
        usage: what the gateway's callers used.
        tokens: what the engines counted of tokens.
        store_writable: whether the store can be written.
    """

    state: Callable[[], State] = State
    xds: Callable[[], XdsCounts] = XdsCounts
    events: Callable[[], int] = _no_events
    traces: Callable[[], Mapping[VersionKey, TraceCounts]] = _no_traces
    faults: Callable[[], Mapping[str, int]] = _no_faults
    gateway: ReadGateway = GatewayStatus
    usage: ReadUsage = UsageReport
    tokens: ReadTokens = TokenReport
    store_writable: Callable[[], bool] = lambda: True


@dataclass(slots=True)
class _ClosedLabel:
    """A label whose values come from outside, and whose number is bounded.

    After ``limit`` different values the rest is counted as one.
    """

    limit: int
    known: set[str] = field(default_factory=set)

    def __call__(self, value: str) -> str:
        if value not in self.known:
            if len(self.known) >= self.limit:
                return OTHER
            self.known.add(value)
        return value


class Metrics:
    """Every metric of the daemon, in a registry of its own.

    Methods may be called from any thread and return at once.
    """

    def __init__(self, sources: MetricSources | None = None) -> None:
        self.registry = CollectorRegistry()
        self._gate, self._method = _ClosedLabel(MAX_GATES), _ClosedLabel(MAX_METHODS)
        self._load_seconds = Histogram(
            "echoplane_load_seconds",
            "From a load's start to its first ready instance.",
            registry=self.registry,
            buckets=_LOAD_BUCKETS_S,
        )
        self._loads = Counter(
            "echoplane_loads",
            "Load operations that ended, by outcome: OK or a reason.",
            ["outcome"],
            registry=self.registry,
        )
        # Prometheus' increase() does not see the step of a series that begins at 1: an alarm would miss each first failure.
        for outcome in (_LOADED, *Reason):
            self._loads.labels(outcome)
        self._cache_hits = Counter(
            "echoplane_cache_hits", "Loads and updates that found the version there.", registry=self.registry
        )
        self._cache_misses = Counter(
            "echoplane_cache_misses", "Loads and updates that had to load.", registry=self.registry
        )
        self._verdicts = Counter(
            "echoplane_gate_verdicts", "Verdicts on stages.", ["gate", "verdict"], registry=self.registry
        )
        self._commit_seconds = Histogram(
            "echoplane_store_commit_seconds",
            "Commits, failed ones included.",
            registry=self.registry,
            buckets=_COMMIT_BUCKETS_S,
        )
        self._commit_failures = Counter(
            "echoplane_store_commit_failures", "Commits that wrote nothing.", registry=self.registry
        )
        self._rpcs = Counter("echoplane_rpcs", "Calls that ended.", ["method", "code"], registry=self.registry)
        self._rpc_seconds = Histogram(
            "echoplane_rpc_seconds",
            "Calls, from request to end.",
            ["method"],
            registry=self.registry,
            buckets=_RPC_BUCKETS_S,
        )
        self.registry.register(_ReadCollector(sources or MetricSources()))

    def state_changed(self, before: State, after: State) -> None:
        """Count what two states that follow each other differ in.

        Loads that ended, how long they took, cache hits and misses.
        """
        if before.operations is not after.operations:
            self._count_operations(before, after)
        for model_id, model in after.models.items():
            old = before.models.get(model_id)
            if old is not model:
                self._count_versions(old, model)

    def load_ended(self, failure: Reason | None) -> None:
        """Count a load operation; None: it came true."""
        self._loads.labels(_LOADED if failure is None else failure).inc()

    def version_loaded(self, seconds: float) -> None:
        """Observe how long a version took to be ready."""
        self._load_seconds.observe(seconds)

    def cache_asked(self, *, hits: int = 0, misses: int = 0) -> None:
        """Count loads by whether the version was there."""
        self._cache_hits.inc(hits)
        self._cache_misses.inc(misses)

    def gate_judged(self, gate: str, verdict: GateVerdict) -> None:
        """Count one gate's verdict."""
        self._verdicts.labels(self._gate(gate), verdict.value).inc()

    def commit_ended(self, seconds: float, *, ok: bool) -> None:
        """Observe one commit of the store."""
        self._commit_seconds.observe(seconds)
        if not ok:
            self._commit_failures.inc()

    def rpc_ended(self, method: str, code: str, seconds: float) -> None:
        """Observe one call.

        Args:
            method: ``/package.Service/Method``.
            code: a gRPC code by name.
            seconds: from request to end.
        """
        method = self._method(method)
        self._rpcs.labels(method, code).inc()
        self._rpc_seconds.labels(method).observe(seconds)

    def _count_operations(self, before: State, after: State) -> None:
        for operation_id, operation in after.operations.items():
            old = before.operations.get(operation_id)
            if operation.kind is OperationKind.LOAD and operation.done and not (old is not None and old.done):
                self.load_ended(operation.failure.reason if operation.failure is not None else None)

    def _count_versions(self, old_model: Model | None, model: Model) -> None:
        for name, version in model.versions.items():
            old = None if old_model is None else old_model.versions.get(name)
            if old is version:
                continue
            hits, misses = (0, 0) if old is None else (old.cache.hits, old.cache.misses)
            self.cache_asked(hits=max(0, version.cache.hits - hits), misses=max(0, version.cache.misses - misses))
            if version.load_duration_s is not None and _load_of(old) != _load_of(version):
                self.version_loaded(version.load_duration_s)


def _load_of(version: Version | None) -> tuple[float, float | None] | None:
    """Return what tells one load of a version from the next."""
    return None if version is None else (version.load_started_s, version.load_duration_s)


class _ReadCollector(Collector):
    """Reads gauges when somebody asks, and counters that are counted elsewhere."""

    def __init__(self, sources: MetricSources) -> None:
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        """Yield every metric that is read."""
        state = self._sources.state()
        yield from _of_models(state)
        yield from of_devices(state)
        yield from _of_xds(self._sources.xds())
        yield from _of_traces(self._sources.traces())
        yield from _of_faults(state, dict(self._sources.faults()))
        yield from _of_gateway(self._sources.gateway())
        yield from of_usage(self._sources.usage())
        yield from of_tokens(self._sources.tokens())
        yield GaugeMetricFamily(
            "echoplane_store_writable",
            "Whether the store takes changes, by its last write and its last check.",
            value=self._sources.store_writable(),
        )
        yield CounterMetricFamily("echoplane_events", "Events that the loop processed.", value=self._sources.events())
        yield CounterMetricFamily(
            "echoplane_stale_events",
            "Events that came too late or twice, and changed nothing.",
            value=state.stale_event_count,
        )


def _of_models(state: State) -> Iterator[Metric]:
    weight = GaugeMetricFamily(
        "echoplane_traffic_weight_ratio", "Share of a model's traffic that is meant for a version.", labels=_VERSION
    )
    predicted = GaugeMetricFamily(
        "echoplane_predicted_bytes", "Memory expected for one instance of a version.", labels=_VERSION
    )
    measured = GaugeMetricFamily(
        "echoplane_measured_bytes", "Memory that an instance really takes.", labels=(*_VERSION, "instance")
    )
    every = ((model, version) for model in state.models.values() for version in model.versions.values())
    for model, version in islice(every, MAX_VERSIONS_SHOWN):
        labels = (model.model_id, version.key.version)
        weight.add_metric(labels, _weight(model, version.key.version))
        predicted.add_metric(labels, version.plan.bytes)
        for instance in version.instances:
            if instance.measured_bytes:
                measured.add_metric((*labels, str(instance.key.ordinal)), instance.measured_bytes)
    total = sum(len(model.versions) for model in state.models.values())
    hidden = GaugeMetricFamily(
        "echoplane_versions_not_shown",
        f"Versions beyond the first {MAX_VERSIONS_SHOWN}, which have no metrics of their own.",
    )
    hidden.add_metric((), max(0, total - MAX_VERSIONS_SHOWN))
    yield from (weight, predicted, measured, hidden)


_VERSION = ("model", "version")


def _weight(model: Model, version: str) -> float:
    if model.routes is None:
        return 0.0
    return (
        sum(cluster.weight_ppm for cluster in model.routes.clusters if cluster.version == version and cluster.routed)
        / 1e6
    )


def _of_faults(state: State, counts: Mapping[str, int]) -> Iterator[Metric]:
    raised = CounterMetricFamily(
        "echoplane_adapter_failures", "How often a part of the daemon raised what nobody expected.", labels=("adapter",)
    )
    for adapter, count in counts.items():
        raised.add_metric((adapter,), count)
    faults = [fault for model in state.models.values() for fault in model.faults]
    failing = GaugeMetricFamily(
        "echoplane_failing_effects", "Work that failed and is tried again, given up or not.", labels=("given_up",)
    )
    for given_up in (False, True):
        failing.add_metric((str(given_up).lower(),), sum(fault.is_given_up is given_up for fault in faults))
    yield from (raised, failing)


def _of_gateway(status: GatewayStatus) -> Iterator[Metric]:
    if status.state is GatewayState.OFF:
        return
    yield GaugeMetricFamily(
        "echoplane_gateway_up", "Whether the gateway's Envoy serves.", value=status.state is GatewayState.SERVING
    )
    yield CounterMetricFamily(
        "echoplane_gateway_restarts",
        "How often the gateway's Envoy ended and was started again.",
        value=status.restarts,
    )
    if status.certificate_expires_s:
        yield GaugeMetricFamily(
            "echoplane_gateway_certificate_expire_time_seconds",
            "When the gateway's certificate expires, seconds since the epoch.",
            value=status.certificate_expires_s,
        )


def _of_traces(counts: Mapping[VersionKey, TraceCounts]) -> Iterator[Metric]:
    received = CounterMetricFamily("echoplane_traces_received", "Request traces that engines sent.", labels=_VERSION)
    dropped = CounterMetricFamily(
        "echoplane_traces_dropped",
        "Request traces that no gate saw: the oldest, where there were too many.",
        labels=_VERSION,
    )
    for version, count in counts.items():
        received.add_metric((version.model, version.version), count.received)
        dropped.add_metric((version.model, version.version), count.dropped)
    yield from (received, dropped)


def _of_xds(counts: XdsCounts) -> Iterator[Metric]:
    yield GaugeMetricFamily("echoplane_xds_streams", "xDS streams that are open.", value=counts.streams)
    pushes = CounterMetricFamily("echoplane_xds_pushes", "Responses that were sent.", labels=("type",))
    acks = CounterMetricFamily("echoplane_xds_acks", "Responses that clients accepted.", labels=("type",))
    nacks = CounterMetricFamily("echoplane_xds_nacks", "Responses that clients refused.", labels=("type",))
    for each in counts.by_type:
        pushes.add_metric((each.type,), each.pushes)
        acks.add_metric((each.type,), each.acks)
        nacks.add_metric((each.type,), each.nacks)
    yield from (pushes, acks, nacks)
