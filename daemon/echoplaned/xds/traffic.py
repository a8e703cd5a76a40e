"""The xDS side as the event loop sees it.

Routes go out, acknowledgements, refusals and load reports come back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import structlog

from echoplaned.core.effects import PublishRoutes
from echoplaned.core.events import RoutesHeld, RoutesProgressed, RoutesRefused
from echoplaned.core.ids import VersionKey
from echoplaned.core.names import model_name
from echoplaned.core.numbers import clamp_count
from echoplaned.core.routes_view import ModelRoutes
from echoplaned.ports.emit import Clock, Emit
from echoplaned.ports.faults import ReportFault
from echoplaned.ports.refusals import RecordedRefusal
from echoplaned.ports.request_counts import RequestCounts
from echoplaned.ports.traffic import Caller, Reporter
from echoplaned.runtime.faults import contain
from echoplaned.xds import snapshot as snapshots
from echoplaned.xds.confirmed import ConfirmedRequests
from echoplaned.xds.observer import MAX_NODE_CHARACTERS, LoadReport, Nack, Refusal
from echoplaned.xds.publisher import Publisher
from echoplaned.xds.refusals import MAX_REFUSAL_CHARACTERS, RefusalLog

MAX_ALARMS = 20
"""Subscribers that are named in alarms."""

log = structlog.get_logger(__name__)


class ClientRequestTotals:
    """Running totals of the clients' load reports.

    They are by version and by client (a ``TrafficSource``).

    A report does not tell a caller's mistake from a server's; every error counts as the server's here, and the workers' own
    counters tell them apart. ``in_flight`` is the sum over the streams that report at present.

    A client may name any version: one that does not exist is not counted, and what was counted of one that is gone is dropped
    when a version comes to be counted.

    Args:
        exists: whether there is such a version.
    """

    def __init__(self, exists: Callable[[VersionKey], bool] = lambda _: True) -> None:
        self._exists = exists
        self._totals: dict[VersionKey, RequestCounts] = {}
        self._clients: dict[VersionKey, dict[Reporter, RequestCounts]] = {}
        self.report_count = 0

    def add(self, report: LoadReport) -> None:
        """Add one report."""
        if report.version not in self._totals:
            if not self._exists(report.version):
                return
            self._drop_gone()
        clients = self._clients.setdefault(report.version, {})
        known = clients.get(report.reporter)
        before = known or RequestCounts()
        counts = report.counts if known is None else _with_begun(report.counts, known)
        clients[report.reporter] = before.at_rest() + counts
        total = self._totals.get(report.version, RequestCounts())
        self._totals[report.version] = _less_in_flight(total, before) + counts
        self.report_count += 1

    def on_ended(self, reporter: Reporter) -> None:
        """Drop a stream that ended, and the requests under way on it.

        What it counted stays in the totals.
        """
        for version, clients in self._clients.items():
            last = clients.pop(reporter, None)
            if last is not None:
                self._totals[version] = _less_in_flight(self._totals[version], last)

    def by_client(self, version: VersionKey) -> Mapping[Reporter, RequestCounts]:
        """Return the totals of the streams that report at present, each since it began."""
        return self._clients.get(version, {})

    def totals(self) -> Mapping[VersionKey, RequestCounts]:
        """Return the totals since the daemon started."""
        return self._totals

    def remove(self, model: str) -> None:
        """Drop a deleted model's totals."""
        self._totals = {version: counts for version, counts in self._totals.items() if version.model != model}
        self._clients = {version: clients for version, clients in self._clients.items() if version.model != model}

    def _drop_gone(self) -> None:
        for version in [version for version in self._totals if not self._exists(version)]:
            del self._totals[version]
            self._clients.pop(version, None)


def _with_begun(counts: RequestCounts, before: RequestCounts) -> RequestCounts:
    """Return a report with the requests that began, where it does not tell them.

    Some clients report how many ended and how many are under way, and never how many they issued. Of a
    stream that only ended nothing began here either: there is one less under way.
    """
    if counts.arrivals or not counts.requests:
        return counts
    return replace(counts, arrivals=max(0, counts.requests + counts.in_flight - before.in_flight))


def _less_in_flight(total: RequestCounts, stream: RequestCounts) -> RequestCounts:
    """Return a total without what one stream has under way.

    A total at its bound may have counted less of it.
    """
    return replace(total, in_flight=clamp_count(total.in_flight - stream.in_flight))


class Traffic:
    """Implements ``Routes`` for the loop and ``XdsObserver`` for the publisher.

    Until ``open``, routes are only collected: an ADS stream that was answered before the whole recovered state is known would be
    told to delete everything.

    Args:
        emit: takes events.
        clock: seconds since the epoch.
        failed: takes what cannot be published.
        exists: whether there is such a version; load reports of others are not counted.
    """

    def __init__(
        self, emit: Emit, clock: Clock, failed: ReportFault, exists: Callable[[VersionKey], bool] = lambda _: True
    ) -> None:
        self._emit = emit
        self._failed = failed
        self._exists = exists
        self._clock = clock
        self._publisher: Publisher | None = None
        self._opened = False
        self._waiting: dict[str, PublishRoutes] = {}
        self._acknowledged_epochs: dict[str, int] = {}
        self.loads = ClientRequestTotals(exists)
        self.refusals = RefusalLog()
        self._confirmed: ConfirmedRequests | None = None
        self._left_out: dict[tuple[str, Caller], Refusal] = {}
        self._held: dict[str, tuple[Refusal, ...]] = {}

    def connect(self, publisher: Publisher, confirmed: ConfirmedRequests | None = None) -> None:
        """Connect the publisher whose observer this is.

        Args:
            publisher: the publisher.
            confirmed: takes every load report; None: nothing does.
        """
        self._publisher = publisher
        self._confirmed = confirmed

    @property
    def alarms(self) -> tuple[str, ...]:
        """Subscribers that refuse their routes and have no traffic.

        Somebody should look at them, and nothing else follows.
        """
        held = [(refusal, "its rollout waits") for refusals in self._held.values() for refusal in refusals]
        told = [*held, *((refusal, "it is left out") for refusal in self._left_out.values())]
        return tuple(
            f"{model_name(each.model)}: subscriber {each.node[:MAX_NODE_CHARACTERS]} refuses the routes and has no confirmed requests, "
            f"{what}: {each.detail[:MAX_REFUSAL_CHARACTERS]}"
            for each, what in told[:MAX_ALARMS]
        )

    # --- Routes ---

    def publish(self, effect: PublishRoutes) -> None:
        """Publish one model's routes; before ``open`` keep them for it."""
        if not self._opened or self._publisher is None:
            self._waiting[effect.model] = effect
            return
        self._publisher.publish_model(effect.routes, effect.ack_timeout_s)

    def open(self) -> None:
        """Publish everything that was collected and let the streams in.

        Routes that cannot be built are left out and reported.
        """
        if self._publisher is None:
            raise RuntimeError("connect a publisher first")
        waiting, self._waiting = self._waiting, {}
        self._opened = True
        routes: dict[str, ModelRoutes] = {}
        for model, effect in waiting.items():
            with contain(partial(self._failed, effect.key)):
                snapshots.build({model: effect.routes})
                routes[model] = effect.routes
        self._publisher.open(routes, {model: waiting[model].ack_timeout_s for model in routes})

    def remove(self, model: str) -> None:
        """Drop what is left of a deleted model."""
        self._acknowledged_epochs.pop(model, None)
        self.loads.remove(model)
        self.refusals.remove(model)
        self._left_out = {key: each for key, each in self._left_out.items() if key[0] != model}
        self._held.pop(model, None)
        if self._opened and self._publisher is not None:
            self._publisher.remove_model(model)

    # --- XdsObserver ---

    def routes_acknowledged(
        self, model: str, epoch: int, acknowledged: int, subscribers: int, stale: tuple[str, ...]
    ) -> None:
        """Every subscriber that is not stale has the newest routes."""
        self._acknowledged_epochs[model] = epoch
        self._drop_left_out(model, stale)
        self._emit(RoutesProgressed(self._clock(), model, epoch, True, acknowledged, subscribers, stale))  # noqa: FBT003 - a field

    def routes_progress(
        self, model: str, epoch: int, acknowledged: int, subscribers: int, stale: tuple[str, ...]
    ) -> None:
        """So many have them by now; once acknowledged, an epoch stays so."""
        done = self._acknowledged_epochs.get(model) == epoch
        self._drop_left_out(model, stale)
        self._emit(RoutesProgressed(self._clock(), model, epoch, done, acknowledged, subscribers, stale))

    def routes_refused(self, refusal: Refusal) -> None:
        """A subscriber refused what this epoch changed."""
        log.warning(
            "xds.refused",
            model=refusal.model,
            epoch=refusal.epoch,
            node=refusal.node,
            detail=refusal.detail,
            resources=sorted(refusal.names),
        )
        self._record(refusal, frozenset({refusal.model}), counted=True)
        self._emit(RoutesRefused(self._clock(), refusal.model, refusal.epoch, refusal.node, refusal.detail))

    def routes_held(self, model: str, epoch: int, refusals: tuple[Refusal, ...]) -> None:
        """Subscribers refuse what this epoch changed, and nobody has traffic."""
        for refusal in set(refusals) - set(self._held.get(model, ())):
            log.warning("routes.refused_by_idle", model=model, epoch=epoch, node=refusal.node, detail=refusal.detail)
            self._record(refusal, frozenset({model}), counted=False)
        self._held[model] = refusals
        if not refusals:
            del self._held[model]
        nodes = tuple(sorted({refusal.node[:MAX_NODE_CHARACTERS] for refusal in refusals}))[:MAX_ALARMS]
        detail = refusals[0].detail[:MAX_REFUSAL_CHARACTERS] if refusals else ""
        self._emit(RoutesHeld(self._clock(), model, epoch, nodes, detail))

    def subscriber_left_out(self, refusal: Refusal) -> None:
        """A subscriber without traffic refused what others take."""
        log.warning("refusal.excluded", model=refusal.model, node=refusal.node, detail=refusal.detail)
        self._record(refusal, frozenset({refusal.model}), counted=False)
        key = (refusal.model, refusal.caller)
        self._left_out.pop(key, None)
        self._left_out[key] = refusal
        if len(self._left_out) > MAX_ALARMS:
            del self._left_out[next(iter(self._left_out))]

    def nack_recorded(self, nack: Nack) -> None:
        """Any other refusal: recorded, nothing follows from it."""
        log.warning("response.nacked", node=nack.node, type_url=nack.type_url, detail=nack.detail)
        self._record(nack, nack.models, counted=False)

    def subscribers_changed(self, model: str, count: int) -> None:
        """So many streams follow the model's routes now."""
        log.debug("subscribers.changed", model=model, count=count)

    def load_report(self, report: LoadReport) -> None:
        """One client's counts for one version over the interval.

        Of a version that does not exist nothing is kept, here or where requests are confirmed.
        """
        if not self._exists(report.version):
            return
        self.loads.add(report)
        if self._confirmed is not None:
            self._confirmed.on_report(report)

    def load_stream_ended(self, reporter: Reporter) -> None:
        """No report comes any more on this stream."""
        self.loads.on_ended(reporter)
        if self._confirmed is not None:
            self._confirmed.on_ended(reporter)

    # --- ClientSource ---

    def by_client(self, version: VersionKey) -> Mapping[Reporter, RequestCounts]:
        """Return what every client that reports at present has counted."""
        return self.loads.by_client(version)

    def route_only_clients(self, model: str) -> frozenset[Caller]:
        """Return the clients whose traffic to a model its routes alone steer."""
        return self._publisher.route_only_clients(model) if self._publisher is not None else frozenset()

    def version_clients(self, model: str) -> frozenset[Caller]:
        """Return the clients that dial a version of a model by its own target."""
        return self._publisher.version_clients(model) if self._publisher is not None else frozenset()

    def _drop_left_out(self, model: str, stale: tuple[str, ...]) -> None:
        """Forget those that have the routes by now, or have gone."""
        over = [key for key, each in self._left_out.items() if key[0] == model and each.node not in stale]
        for key in over:
            del self._left_out[key]

    def _record(self, told: Refusal | Nack, models: frozenset[str], *, counted: bool) -> None:
        now_s = self._clock()
        self.refusals.record(
            RecordedRefusal(told.node, told.type_url, tuple(told.names), models, told.detail, counted, now_s, now_s)
        )
