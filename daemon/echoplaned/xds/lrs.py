"""The load reporting service: every client's counts, once a second.

They are each client's own, and are added up by version.

What a count means differs: gRPC clients count any status but OK as an error, a caller's mistakes and cancellations
included; Envoy counts what maps to HTTP 5xx. A pick that failed is counted by nobody, an interval without requests is
not reported at all, and errors that a stream carries in-band count as OK. Envoy begins to count a cluster only with the
first report after it came (one to two seconds), and forgets what it had not reported when the cluster goes. The
workers' own counters stand beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

import grpc
import grpc.aio
import structlog
from envoy.config.endpoint.v3 import load_report_pb2
from envoy.service.load_stats.v3 import lrs_pb2
from google.protobuf import duration_pb2

from echoplaned.core.budgets import BudgetExceededError
from echoplaned.core.ids import VersionKey
from echoplaned.core.numbers import clamp_count, clamp_real
from echoplaned.ports.request_counts import CountedBy, RequestCounts
from echoplaned.ports.traffic import Reporter
from echoplaned.request_reader import EOF, RequestReader
from echoplaned.xds.budgets import XdsBudgets
from echoplaned.xds.names import parse_cluster
from echoplaned.xds.observer import LoadReport, XdsObserver
from echoplaned.xds.requests import BadRequestError, parse, read_node_id

SERVICE = lrs_pb2.DESCRIPTOR.services_by_name["LoadReportingService"].full_name
INTERVAL_S = 1
"""gRPC's core does not report more often, whatever it is asked."""

MAX_REQUESTS: Final = 10**9
"""Requests of one kind that one report can speak of."""

MAX_MEASURED_S: Final = 3600.0
"""A report that does not say its time is taken for as long as the one before it is ago, and no longer than this."""

MAX_INTERVAL_S: Final = 5.0
"""A report of a longer time is left out: a client that comes back tells of what nobody here has watched (``gates.claim_audit``)."""

MAX_REPORT_BYTES: Final = 2 * 1024 * 1024
MAX_CLUSTERS: Final = 10_000
"""Clusters in one report, and localities in all of them: an Envoy in front of a thousand models has a few thousand."""

CLUSTERS_A_TURN: Final = 500
"""Clusters of a report that are read before the loop has its next turn."""

log = structlog.get_logger(__name__)

Context = grpc.aio.ServicerContext[object, object]


Exists = Callable[[VersionKey], bool]


def _any_version(_version: VersionKey) -> bool:
    return True


class LoadReportService:
    """Asks every client for its load and passes it on.

    Args:
        observer: takes the reports.
        clock: seconds that only go on.
        budgets: shares of the clients.
        of_gateway: whether the daemon's own gateway reports here, and nobody else.
        exists: whether there is such a version; reports of others are not read.
    """

    def __init__(
        self,
        observer: XdsObserver,
        clock: Callable[[], float],
        budgets: XdsBudgets | None = None,
        *,
        of_gateway: bool = False,
        exists: Exists = _any_version,
    ) -> None:
        self._of_gateway = of_gateway
        self._exists = exists
        self._budgets = budgets or XdsBudgets()
        self._observer = observer
        self._clock = clock
        self._closing = asyncio.Event()
        self._open = 0
        self._streams = 0

    def handler(self) -> grpc.GenericRpcHandler[Any, Any]:
        """Return the handler to add to a server.

        It is added by ``server.add_generic_rpc_handlers((lrs.handler(),))``.
        """
        methods = {
            "StreamLoadStats": grpc.stream_stream_rpc_method_handler(
                self._stream_load_stats,  # no deserializer: as in ``ads``
                response_serializer=lrs_pb2.LoadStatsResponse.SerializeToString,
            )
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    @property
    def streams_open(self) -> int:
        """Clients that report at present."""
        return self._open

    def close(self) -> None:
        """End every stream, so that a stopping server need not wait."""
        self._closing.set()

    async def _stream_load_stats(self, _requests: object, context: Context) -> None:
        closing = asyncio.ensure_future(self._closing.wait())
        self._streams += 1
        stream = self._streams
        serving = asyncio.ensure_future(self._serve_within_share(context, stream))
        self._open += 1
        try:
            await asyncio.wait({closing, serving}, return_when=asyncio.FIRST_COMPLETED)
            if not serving.done():
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the server is stopping")
            serving.result()
        finally:
            self._open -= 1
            closing.cancel()
            serving.cancel()

    async def _serve_within_share(self, context: Context, stream: int) -> None:
        streams, peer = self._budgets.lrs_streams, context.peer()
        try:
            streams.acquire(peer)
        except BudgetExceededError as refused:
            await _end(context, grpc.StatusCode.RESOURCE_EXHAUSTED, str(refused))
        try:
            await self._serve(context, stream)
        except BadRequestError as problem:
            await _end(context, grpc.StatusCode.INVALID_ARGUMENT, str(problem))
        finally:
            streams.release(peer)

    async def _serve(self, context: Context, stream: int) -> None:
        requests = RequestReader(context)
        report = await _next(requests)
        if report is None:
            return
        peer = context.peer()
        reporter = Reporter(read_node_id(report.node, peer), stream, peer, keeps_conversations=self._of_gateway)
        interval = duration_pb2.Duration(seconds=INTERVAL_S)
        await context.write(lrs_pb2.LoadStatsResponse(send_all_clusters=True, load_reporting_interval=interval))
        reported_s = now_s = self._clock()
        try:
            while report is not None:
                await self.take(report, reporter, now_s - reported_s)
                report, reported_s = None, now_s  # while a client is silent, nothing is kept of what it sent
                report = await _next(requests)
                now_s = self._clock()
        finally:
            self._observer.load_stream_ended(reporter)

    async def take(self, request: Any, reporter: Reporter, measured_s: float) -> None:  # noqa: ANN401 - has no public type
        """Pass a report on.

        After every few hundred clusters everybody else has a turn.
        """
        sums = _Sums(measured_s, self._exists)
        clusters = request.cluster_stats
        for begin in range(0, len(clusters), CLUSTERS_A_TURN):
            if begin:
                await asyncio.sleep(0)
            sums.add(clusters[begin : begin + CLUSTERS_A_TURN])
        for place, report in enumerate(sums.reports(reporter), start=1):
            self._observer.load_report(report)
            if place % CLUSTERS_A_TURN == 0:
                await asyncio.sleep(0)


async def _next(requests: RequestReader) -> lrs_pb2.LoadStatsRequest | None:
    """Return the next report; None: there are no more.

    Raises:
        BadRequestError: it is none, or has more in it than is read.
    """
    raw = await requests.read()
    return None if raw is EOF else parse_report(cast(bytes, raw))


def parse_report(raw: bytes) -> lrs_pb2.LoadStatsRequest:
    """Return a report that is within bounds.

    Raises:
        BadRequestError: it is none, or has more in it than is read.
    """
    report = parse(raw, lrs_pb2.LoadStatsRequest.FromString, MAX_REPORT_BYTES)
    clusters = report.cluster_stats
    # The clusters are counted before their localities are: a report of 2 MiB has room for a million empty ones.
    if len(clusters) > MAX_CLUSTERS or sum(len(each.upstream_locality_stats) for each in clusters) > MAX_CLUSTERS:
        raise BadRequestError(f"more than {MAX_CLUSTERS} clusters or localities in one load report")
    return report


async def _end(context: Context, code: grpc.StatusCode, text: str) -> None:
    """End a stream for what its client did, with one line of the log."""
    log.info("lrs.stream_refused", peer=context.peer(), code=code.name, problem=text)
    await context.abort(code, text)


def read_reports(
    clusters: Any,  # noqa: ANN401 - a repeated field has no public type
    reporter: Reporter,
    measured_s: float,
    exists: Exists = _any_version,
) -> Iterator[LoadReport]:
    """Yield one report for each version of ours that had requests.

    It has the counts of the version's clusters added up, and of their localities.

    A version whose engines speak OpenAI's API has two clusters. One report for both, since the next one takes the place of what is
    under way in it.

    Args:
        clusters: the report's ``cluster_stats``.
        reporter: whose they are.
        measured_s: the interval where the client does not name it.
        exists: whether there is such a version; others are left out.
    """
    sums = _Sums(measured_s, exists)
    sums.add(clusters)
    yield from sums.reports(reporter)


@dataclass(slots=True)
class _Sum:
    """What a report says of one version."""

    ok: int = 0
    errors: int = 0
    issued: int = 0
    in_flight: int = 0
    interval_s: float = 0.0


class _Sums:
    """Adds up a report by version, a few clusters at a time.

    A client may write any 64 bits: this is the one place where its numbers enter, so they are clamped here. It may also write ten
    thousand names: of one that is none of ours nothing is made, not even a zero.

    Args:
        measured_s: the interval where the client does not name it.
        exists: whether there is such a version.
    """

    def __init__(self, measured_s: float, exists: Exists) -> None:
        self._measured_s = measured_s
        self._exists = exists
        self._versions: dict[str, VersionKey | None] = {}
        self._sums: dict[VersionKey, _Sum] = {}

    def add(self, clusters: Any) -> None:  # noqa: ANN401 - a repeated field has no public type
        """Add clusters."""
        for stats in cast("list[load_report_pb2.ClusterStats]", clusters):
            name = stats.cluster_name
            if name not in self._versions:
                self._versions[name] = self._version_of(name)
            if (version := self._versions[name]) is not None:
                self._add(version, stats)

    def _version_of(self, cluster: str) -> VersionKey | None:
        target = parse_cluster(cluster)
        version = VersionKey(target.model, target.version) if target is not None else None
        return version if version is not None and self._exists(version) else None

    def _add(self, version: VersionKey, stats: load_report_pb2.ClusterStats) -> None:
        localities = stats.upstream_locality_stats
        if not localities:
            return  # Envoy's way to say that nothing happened; gRPC does not mention such a cluster at all
        interval = stats.load_report_interval
        reported_s = interval.seconds + interval.nanos / 1e9
        if reported_s > MAX_INTERVAL_S:
            return
        interval_s = clamp_real(reported_s if reported_s > 0 else self._measured_s, 0.0, MAX_MEASURED_S)
        found = self._sums.setdefault(version, _Sum())
        ok = errors = issued = in_flight = 0
        for each in localities:
            ok += each.total_successful_requests
            errors += each.total_error_requests
            issued += each.total_issued_requests
            in_flight += each.total_requests_in_progress
        found.ok += clamp_count(ok, MAX_REQUESTS)
        found.errors += clamp_count(errors, MAX_REQUESTS)
        found.issued += clamp_count(issued, MAX_REQUESTS)
        found.in_flight += clamp_count(in_flight, MAX_REQUESTS)
        found.interval_s = max(found.interval_s, interval_s)

    def reports(self, reporter: Reporter) -> Iterator[LoadReport]:
        """Yield what was added up."""
        for version, found in self._sums.items():
            counts = RequestCounts(
                ok=clamp_count(found.ok),
                # A report does not tell a caller's mistake from a server's; the workers' own counters do.
                server_errors=clamp_count(found.errors),
                arrivals=clamp_count(found.issued),
                in_flight=clamp_count(found.in_flight),
                origin=CountedBy.LRS,
                gateway_errors=clamp_count(found.errors) if reporter.keeps_conversations else 0,
            )
            yield LoadReport(version, reporter, counts, found.interval_s)
