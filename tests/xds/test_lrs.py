"""Load reports: any 64 bits may come in, and only versions that exist are counted."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.config.endpoint.v3 import load_report_pb2
from envoy.service.load_stats.v3 import lrs_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from echoplane.v1 import diagnostics_pb2
from echoplaned.core.ids import VersionKey
from echoplaned.core.numbers import MAX_COUNT
from echoplaned.core.rollout_state import GateVerdict, Verdict
from echoplaned.ports.request_counts import CountedBy, Interval, RequestCounts
from echoplaned.ports.traffic import Reporter
from echoplaned.rpc.convert.rollouts import verdict_to_pb
from echoplaned.xds import lrs
from echoplaned.xds.observer import LoadReport
from echoplaned.xds.traffic import ClientRequestTotals
from tests.turning import counted_turns
from tests.xds import xds_harness as h

V1 = VersionKey("m", "v1")
UINT64 = st.integers(0, 2**64 - 1) | st.sampled_from([2**63, 2**64 - 1])
LOCALITIES = st.builds(
    load_report_pb2.UpstreamLocalityStats,
    total_successful_requests=UINT64,
    total_error_requests=UINT64,
    total_issued_requests=UINT64,
    total_requests_in_progress=UINT64,
)
CLUSTERS = st.builds(
    load_report_pb2.ClusterStats,
    cluster_name=st.just("models/m/versions/v1"),
    upstream_locality_stats=st.lists(LOCALITIES, max_size=3),
)


@settings(
    suppress_health_check=[HealthCheck.too_slow]
)  # the first message of a process takes a second on a busy machine
@given(
    st.lists(CLUSTERS, max_size=4),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-(2**31), 2**31 - 1),
    st.integers(1, 5),
)
def test_any_report_can_be_added_up_and_shown(
    clusters: list[load_report_pb2.ClusterStats], seconds: int, nanos: int, times: int
) -> None:
    """Whatever a report holds, its totals fit the API's fields, also after it came again and again and its streams ended."""
    for cluster in clusters:
        cluster.load_report_interval.seconds, cluster.load_report_interval.nanos = seconds, nanos
    totals = ClientRequestTotals()
    for stream in range(times):
        for report in lrs.read_reports(clusters, Reporter("n", stream), 1.0):
            assert 0.0 <= report.interval_s <= lrs.MAX_INTERVAL_S
            totals.add(report)
    for stream in range(times):
        counts = totals.totals().get(V1, RequestCounts())
        both = Interval(counts, counts)
        shown = diagnostics_pb2.RequestCounts(
            ok_count=both.requests, arrival_count=both.seen, in_flight_count=counts.in_flight
        )
        assert shown.ok_count >= 0
        assert 0.0 <= both.share <= 1.0
        totals.on_ended(Reporter("n", stream))
    assert totals.totals().get(V1, RequestCounts()).in_flight == 0


def test_totals_stay_at_their_bound() -> None:
    """A running total ends at its bound, and never wraps round or leaves 64 bits."""
    totals = ClientRequestTotals()
    full = RequestCounts(server_errors=MAX_COUNT, in_flight=MAX_COUNT, origin=CountedBy.LRS)
    for stream in range(3):
        totals.add(LoadReport(V1, Reporter("n", stream), full, 1.0))
    assert totals.totals()[V1].server_errors == MAX_COUNT
    for stream in range(3):
        totals.on_ended(Reporter("n", stream))
    assert totals.totals()[V1].in_flight == 0


def test_both_clusters_of_a_version_make_one_report() -> None:
    """Requests of the gRPC and of the OpenAI cluster are added up, those under way among them; others' names are none of ours."""
    names = ["models/m/versions/v1/openai", "models/m/versions/v1", "models/m/openai", "models/m", "x/openai"]
    local = load_report_pb2.UpstreamLocalityStats(total_successful_requests=3, total_requests_in_progress=2)
    stats = [load_report_pb2.ClusterStats(cluster_name=name, upstream_locality_stats=[local]) for name in names]
    (report,) = lrs.read_reports(stats, Reporter("n", 1), 1.0)
    assert report.version == V1
    assert (report.counts.ok, report.counts.in_flight, report.counts.origin) == (6, 4, CountedBy.LRS)


def test_versions_that_do_not_exist_are_not_counted() -> None:
    """A hundred thousand made-up names leave nothing, and a version that is gone is forgotten when another one is counted."""
    there = {V1, VersionKey("m", "v2")}
    totals = ClientRequestTotals(lambda version: version in there)
    one = RequestCounts(ok=1, origin=CountedBy.LRS)
    for number in range(100_000):
        totals.add(LoadReport(VersionKey("m", f"made-up-{number}"), Reporter("n", 1), one, 1.0))
    assert totals.totals() == {}
    totals.add(LoadReport(V1, Reporter("n", 1), one, 1.0))
    there.remove(V1)
    totals.add(LoadReport(VersionKey("m", "v2"), Reporter("n", 1), one, 1.0))
    assert set(totals.totals()) == {VersionKey("m", "v2")}
    assert totals.by_client(V1) == {}


def many(name: str) -> Any:
    """Return a report's clusters: as many as it may have, each with a number in its name."""
    local = load_report_pb2.UpstreamLocalityStats(total_successful_requests=1, total_issued_requests=1)
    request = lrs_pb2.LoadStatsRequest()
    for number in range(lrs.MAX_CLUSTERS):
        request.cluster_stats.add(cluster_name=name.format(number), upstream_locality_stats=[local])
    return request


@pytest.mark.parametrize(
    ("name", "built"),
    [
        ("models/m/versions/{:05d}", 0),
        ("models/m{:05d}/versions/v1", 0),
        ("others/{:05d}", 0),
        ("models/m/versions/v1", 1),
    ],
)
def test_nothing_is_built_of_versions_that_do_not_exist(monkeypatch: pytest.MonkeyPatch, name: str, built: int) -> None:
    """Ten thousand made-up names make no counts, as others' names make none; as many of one version that exists make one."""
    made: list[RequestCounts] = []

    def counts(*args: Any, **kwargs: Any) -> RequestCounts:
        made.append(RequestCounts(*args, **kwargs))
        return made[-1]

    monkeypatch.setattr(lrs, "RequestCounts", counts)
    reports = list(lrs.read_reports(many(name).cluster_stats, Reporter("n", 1), 1.0, {V1}.__contains__))
    assert (len(made), len(reports)) == (built, built)
    assert all(each.counts.ok == lrs.MAX_CLUSTERS for each in reports)


async def test_a_long_report_leaves_turns_to_others() -> None:
    """The loop has a turn after every few hundred clusters, and after as many reports of versions that exist."""
    recorder = h.Recorder()
    service = lrs.LoadReportService(recorder, h.FakeClock())
    async with counted_turns() as turns:
        await service.take(many("models/m/versions/{:05d}"), Reporter("n", 1), 1.0)
    assert len(recorder.loads) == lrs.MAX_CLUSTERS
    assert turns.count >= 2 * lrs.MAX_CLUSTERS // lrs.CLUSTERS_A_TURN - 2


@given(st.integers(), st.integers())
def test_a_verdict_with_any_numbers_is_shown(requests: int, share: int) -> None:
    """What was stored before numbers were clamped is shown too: the nearest that the field holds."""
    counts = (("new_request_count", requests), ("observed_share_ppm", share), ("error_increase_upper_bound_ppm", share))
    shown = verdict_to_pb(Verdict("errors", GateVerdict.HOLD, "", 0.0, counts), 1)
    assert shown.counts.new_request_count == min(max(requests, -(2**63)), 2**63 - 1)


def test_load_is_added_up_by_version() -> None:
    """Localities add up; others' clusters and clusters without requests are left out; the interval is the client's."""
    locality = load_report_pb2.UpstreamLocalityStats(
        total_successful_requests=5, total_error_requests=2, total_issued_requests=8, total_requests_in_progress=1
    )
    stats = [
        load_report_pb2.ClusterStats(cluster_name="models/m/versions/v1", upstream_locality_stats=[locality, locality]),
        load_report_pb2.ClusterStats(cluster_name="models/m/versions/v2"),
        load_report_pb2.ClusterStats(cluster_name="models/m", upstream_locality_stats=[locality]),
        load_report_pb2.ClusterStats(cluster_name="control", upstream_locality_stats=[locality]),
    ]
    stats[0].load_report_interval.FromMilliseconds(1500)
    counts = RequestCounts(ok=10, server_errors=4, arrivals=16, in_flight=2, origin=CountedBy.LRS)
    expected = LoadReport(VersionKey("m", "v1"), Reporter("n", 7), counts, 1.5)
    assert list(lrs.read_reports(stats, Reporter("n", 7), 9.0)) == [expected]
    stats[0].ClearField("load_report_interval")
    assert next(lrs.read_reports(stats, Reporter("n", 7), 9.0)).interval_s == 9.0
