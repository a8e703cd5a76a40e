"""Metrics: what is counted, what is read, how it is named, and that labels stay few."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from types import MappingProxyType

import pytest
from prometheus_client.openmetrics.exposition import generate_latest

from echoplaned.core.effects import Announce
from echoplaned.core.errors import StoreUnavailableError
from echoplaned.core.events import Event, GatesJudged, Tick
from echoplaned.core.facts import Dtype, ModelFacts, Signature, Task
from echoplaned.core.failure import FailureDetail, Reason
from echoplaned.core.ids import InstanceKey, VersionKey
from echoplaned.core.plan import Plan
from echoplaned.core.rollout_state import GateVerdict, Verdict
from echoplaned.core.routes_view import ClusterView, ModelRoutes
from echoplaned.core.spec import ServingShape, VersionSpec
from echoplaned.core.state import CacheCounts, Instance, Model, Operation, OperationKind, State, Version
from echoplaned.core.token_counts import TokenCounts
from echoplaned.ports.gateway import GatewayState, GatewayStatus
from echoplaned.ports.tokens import TokenReport
from echoplaned.ports.traces import TraceCounts
from echoplaned.ports.usage import UsageKey, UsageReport, UsageTotals
from echoplaned.telemetry.measured import MeasuredStore, counting_emit
from echoplaned.telemetry.metrics import (
    MAX_METHODS,
    MAX_VERSIONS_SHOWN,
    OTHER,
    Metrics,
    MetricSources,
    XdsCounts,
    XdsTypeCounts,
)


def version(name: str, model: str = "m") -> Version:
    """Return a version with two instances, one of them measured."""
    key = VersionKey(model, name)
    instances = (Instance(InstanceKey(key, 0), measured_bytes=110), Instance(InstanceKey(key, 1)))
    return Version(
        key,
        VersionSpec("file:m", "/m", "blake3:00", ServingShape(Dtype.FP32, 256, 8, "torch")),
        ModelFacts("BertModel", Task.EMBEDDING, 1, Dtype.FP32, 4, 512, "small", "blake3:00", Signature()),
        Plan(True, "BertModel", 1, Dtype.FP32, 256, 8, 1, 100, 120),
        instances=instances,
        load_started_s=5.0,
    )


def state(*versions: Version, **changes: object) -> State:
    """Return a state with one model; its traffic is 70 to 30 between the first two versions."""
    shares = zip(versions, (700_000, 300_000), strict=False)
    clusters = tuple(ClusterView(each.key.version, weight, (), routed=True) for each, weight in shares)
    model = Model(
        "m", MappingProxyType({each.key.version: each for each in versions}), routes=ModelRoutes("m", 1, clusters)
    )
    return replace(State(models=MappingProxyType({"m": model})), **changes)  # type: ignore[arg-type]  # a test's shorthand


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """Return one sample."""
    return metrics.registry.get_sample_value(name, labels)


def test_gauges_are_read_from_the_newest_state() -> None:
    """Weights and bytes follow the state; nothing stays of a version that has gone."""
    states = [state(version("a"), version("b"), stale_event_count=3)]
    xds = XdsCounts(2, (XdsTypeCounts("CLUSTER", 5, 4, 1),))
    metrics = Metrics(MetricSources(lambda: states[-1], lambda: xds, lambda: 17))
    assert value(metrics, "echoplane_traffic_weight_ratio", model="m", version="a") == 0.7
    assert value(metrics, "echoplane_traffic_weight_ratio", model="m", version="b") == 0.3
    assert value(metrics, "echoplane_predicted_bytes", model="m", version="a") == 100
    assert value(metrics, "echoplane_measured_bytes", model="m", version="a", instance="0") == 110
    assert value(metrics, "echoplane_measured_bytes", model="m", version="a", instance="1") is None
    assert value(metrics, "echoplane_events_total") == 17
    assert value(metrics, "echoplane_stale_events_total") == 3
    assert value(metrics, "echoplane_xds_streams") == 2
    assert value(metrics, "echoplane_xds_pushes_total", type="CLUSTER") == 5
    assert value(metrics, "echoplane_xds_acks_total", type="CLUSTER") == 4
    assert value(metrics, "echoplane_xds_nacks_total", type="CLUSTER") == 1
    states.append(state(version("b")))
    assert value(metrics, "echoplane_traffic_weight_ratio", model="m", version="a") is None


def test_a_store_that_takes_no_changes_is_seen_before_one_is_refused() -> None:
    """A disk that is full while nobody changes anything fails no commit; the gauge, and the alarm by it, say so."""
    writable = [True]
    metrics = Metrics(MetricSources(store_writable=lambda: writable[-1]))
    assert value(metrics, "echoplane_store_writable") == 1
    writable.append(False)
    assert value(metrics, "echoplane_store_writable") == 0
    assert value(metrics, "echoplane_store_commit_failures_total") == 0


def operation(
    name: str, *, done: bool, failure: FailureDetail | None = None, kind: OperationKind = OperationKind.LOAD
) -> Operation:
    """Return an operation."""
    return Operation(name, kind, "m", done=done, failure=failure)


def with_operations(base: State, *operations: Operation) -> State:
    """Return a state with these operations."""
    return replace(base, operations=MappingProxyType({each.operation_id: each for each in operations}))


def test_traces_are_counted_by_version() -> None:
    """What engines sent, and what no gate saw of it."""
    counts = {VersionKey("m", "v1"): TraceCounts(received=9, dropped=2)}
    metrics = Metrics(MetricSources(traces=lambda: counts))
    labels = {"model": "m", "version": "v1"}
    assert metrics.registry.get_sample_value("echoplane_traces_received_total", labels) == 9
    assert metrics.registry.get_sample_value("echoplane_traces_dropped_total", labels) == 2


def test_loads_are_counted_once_by_outcome() -> None:
    """A load operation counts when it ends, with its reason, and not again in the states that follow; updates do not count."""
    metrics = Metrics()
    broken = FailureDetail(Reason.PROBE_FAILED, "no")
    begun = with_operations(State(), operation("1", done=False))
    ended = with_operations(
        State(),
        operation("1", done=True),
        operation("2", done=True, failure=broken),
        operation("3", done=True, kind=OperationKind.UPDATE),
    )
    metrics.state_changed(State(), begun)
    metrics.state_changed(begun, ended)
    metrics.state_changed(ended, with_operations(State(), *ended.operations.values()))
    assert value(metrics, "echoplane_loads_total", outcome="OK") == 1
    assert value(metrics, "echoplane_loads_total", outcome="PROBE_FAILED") == 1


def test_load_seconds_and_cache_come_from_versions() -> None:
    """A version that becomes ready is one observation; asking for it again is a hit; a second load is another observation."""
    metrics = Metrics()
    loading = replace(version("a"), cache=CacheCounts(misses=1))
    loaded = replace(loading, load_duration_s=2.0)
    hit = replace(loaded, cache=CacheCounts(hits=1, misses=1))
    again = replace(hit, load_started_s=50.0, cache=CacheCounts(hits=1, misses=2))
    states = [State(), state(loading), state(loaded), state(hit), state(hit), state(again), State()]
    for before, after in itertools.pairwise(states):
        metrics.state_changed(before, after)
    assert value(metrics, "echoplane_load_seconds_count") == 2
    assert value(metrics, "echoplane_load_seconds_sum") == 4.0
    assert value(metrics, "echoplane_cache_hits_total") == 1
    assert value(metrics, "echoplane_cache_misses_total") == 2


class FailingStore:
    """A store that fails every other commit."""

    def __init__(self) -> None:
        self.commits = 0

    def load(self) -> State:
        """Return an empty state."""
        return State()

    def commit(self, before: State, after: State, announces: tuple[Announce, ...]) -> None:
        """Fail the second, the fourth, ..."""
        self.commits += 1
        if self.commits % 2 == 0:
            raise StoreUnavailableError("full")

    def check(self) -> None:
        """Find nothing."""


def test_commits_are_timed_and_only_committed_changes_count() -> None:
    """A commit that failed is timed and counted as such, and its changes are counted when they are written at last."""
    metrics = Metrics()
    clock = iter((0.0, 0.5, 1.0, 1.25, 2.0, 2.25))
    store = MeasuredStore(FailingStore(), metrics, lambda: next(clock))
    start = store.load()
    one = with_operations(start, operation("1", done=True))
    two = with_operations(start, operation("1", done=True), operation("2", done=True))
    store.commit(start, one, ())
    with pytest.raises(StoreUnavailableError):
        store.commit(one, two, ())
    assert value(metrics, "echoplane_loads_total", outcome="OK") == 1
    store.commit(one, two, ())
    assert value(metrics, "echoplane_loads_total", outcome="OK") == 2
    assert value(metrics, "echoplane_store_commit_seconds_count") == 3
    assert value(metrics, "echoplane_store_commit_seconds_sum") == 1.0
    assert value(metrics, "echoplane_store_commit_failures_total") == 1


def test_verdicts_are_counted_on_their_way_to_the_loop() -> None:
    """Each gate's verdict counts; every event goes on unchanged."""
    metrics, passed = Metrics(), list[Event]()
    emit = counting_emit(passed.append, metrics)
    verdicts = (Verdict("errors", GateVerdict.HOLD, "few"), Verdict("latency", GateVerdict.PASS, "fine"))
    events: list[Event] = [
        GatesJudged(1.0, "m", "r", 1, 1, verdicts),
        Tick(2.0),
        GatesJudged(3.0, "m", "r", 1, 1, verdicts[:1]),
    ]
    for event in events:
        emit(event)
    assert passed == events
    assert value(metrics, "echoplane_gate_verdicts_total", gate="errors", verdict="HOLD") == 2
    assert value(metrics, "echoplane_gate_verdicts_total", gate="latency", verdict="PASS") == 1


def test_labels_from_outside_stay_few() -> None:
    """Whatever methods are called and however many versions there are, the number of series is bounded and the rest is counted together."""
    versions = tuple(version(f"v{number}") for number in range(MAX_VERSIONS_SHOWN + 5))
    metrics = Metrics(MetricSources(lambda: state(*versions)))
    for number in range(MAX_METHODS + 7):
        metrics.rpc_ended(f"/made.Up/M{number}", "UNIMPLEMENTED", 0.001)
    metrics.rpc_ended("/made.Up/M0", "OK", 0.001)
    assert value(metrics, "echoplane_rpcs_total", method=OTHER, code="UNIMPLEMENTED") == 7
    assert value(metrics, "echoplane_rpcs_total", method="/made.Up/M0", code="OK") == 1
    assert value(metrics, "echoplane_rpc_seconds_count", method="/made.Up/M0") == 2
    assert value(metrics, "echoplane_versions_not_shown") == 5
    shown = [
        sample
        for metric in metrics.registry.collect()
        for sample in metric.samples
        if sample.name == "echoplane_predicted_bytes"
    ]
    assert len(shown) == MAX_VERSIONS_SHOWN


def test_names_follow_the_rules() -> None:
    """One prefix, lower case, base units, no unit abbreviated; counters end in _total; the OpenMetrics writer accepts all."""
    metrics = Metrics(
        MetricSources(lambda: state(version("a")), lambda: XdsCounts(1, (XdsTypeCounts("ROUTE", 1, 1, 0),)))
    )
    metrics.rpc_ended("/a.B/C", "OK", 0.1)
    for metric in metrics.registry.collect():
        assert re.fullmatch(r"echoplane_[a-z]+(_[a-z]+)*", metric.name), metric.name
        assert not metric.name.endswith(("_total", "_ms", "_mib", "_percent", "_ppm", "_s")), metric.name
        assert metric.documentation.endswith("."), metric.name
        if metric.type == "counter":
            assert all(sample.name.endswith(("_total", "_created")) for sample in metric.samples)
    text = generate_latest(metrics.registry)
    assert text.endswith(b"# EOF\n")


def test_the_gateway_is_shown_where_there_is_one() -> None:
    """Nothing without it; else whether it serves, and how often it came back."""
    assert "gateway" not in generate_latest(Metrics(MetricSources()).registry).decode()
    status = GatewayStatus(GatewayState.SERVING, "127.0.0.1:80", 7, restarts=2)
    shown = generate_latest(Metrics(MetricSources(gateway=lambda: status)).registry).decode()
    assert "echoplane_gateway_up 1.0" in shown
    assert "echoplane_gateway_restarts_total 2.0" in shown
    assert "certificate" not in shown
    with_tls = replace(status, certificate_expires_s=1.5e9)
    shown = generate_latest(Metrics(MetricSources(gateway=lambda: with_tls)).registry).decode()
    assert "echoplane_gateway_certificate_expire_time_seconds 1.5e+09" in shown


def test_usage_by_client_and_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests by status class, seconds and bytes; beyond a bound the least busy are one, and nothing is lost of the sum."""
    usages = {
        UsageKey(f"c{n}", "m", "v1"): UsageTotals(ok=n, client_errors=1, sent_bytes=10, duration_s=0.5)
        for n in range(5)
    }
    sources = MetricSources(usage=lambda: UsageReport(0.0, usages))
    shown = generate_latest(Metrics(sources).registry).decode()
    labels = '{client="c3",model="m",status_class="%s",version="v1"}'
    assert f"echoplane_gateway_requests_total{labels % '2xx'} 3.0" in shown
    assert f"echoplane_gateway_requests_total{labels % '4xx'} 1.0" in shown
    assert 'echoplane_gateway_sent_bytes_total{client="c3",model="m",version="v1"} 10.0' in shown
    monkeypatch.setattr("echoplaned.telemetry.usage_metrics.MAX_SHOWN", 2)
    shown = generate_latest(Metrics(sources).registry).decode()
    assert 'client="c1"' not in shown
    assert (
        'echoplane_gateway_requests_total{client="other-not-shown",model="",status_class="2xx",version=""} 3.0' in shown
    )


def test_tokens_by_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where they are counted, also where there were none; a version whose engines count none has no line; the fewest are one line."""
    report = TokenReport(
        {VersionKey("m", f"v{n}"): TokenCounts(10 * n, n) for n in range(4)}, frozenset({VersionKey("m", "other")})
    )
    assert "tokens" not in generate_latest(Metrics(MetricSources()).registry).decode()
    shown = generate_latest(Metrics(MetricSources(tokens=lambda: report)).registry).decode()
    assert 'echoplane_engine_prompt_tokens_total{model="m",version="v3"} 30.0' in shown
    assert 'echoplane_engine_generated_tokens_total{model="m",version="v0"} 0.0' in shown
    assert '"other"' not in shown
    monkeypatch.setattr("echoplaned.telemetry.usage_metrics.MAX_SHOWN", 2)
    shown = generate_latest(Metrics(MetricSources(tokens=lambda: report)).registry).decode()
    assert 'version="v1"' not in shown
    assert 'echoplane_engine_prompt_tokens_total{model="other-not-shown",version=""} 10.0' in shown
