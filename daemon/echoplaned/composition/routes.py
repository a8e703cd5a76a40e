"""Wiring of what tells clients and the gateway where to send requests."""

from __future__ import annotations

import time
from dataclasses import dataclass

from echoplaned.composition.counts import Counts
from echoplaned.ports.transcoding import TranscodedServices
from echoplaned.rpc.rest import transcoded_services
from echoplaned.runtime.clock import SteadyClock
from echoplaned.runtime.loop import Loop
from echoplaned.settings import Settings
from echoplaned.telemetry.metrics import XdsCounts, XdsTypeCounts
from echoplaned.xds.ads import AdsService
from echoplaned.xds.budgets import XdsBudgets
from echoplaned.xds.confirmed import ConfirmedRequests
from echoplaned.xds.lrs import LoadReportService
from echoplaned.xds.options import DoorFrame
from echoplaned.xds.publisher import Publisher
from echoplaned.xds.traffic import Traffic


@dataclass(frozen=True, slots=True)
class Xds:
    """The xDS side of the daemon.

    Attributes:
        publisher: what is served, as one snapshot.
        ads: service that streams the snapshots to clients.
        lrs: service that takes the clients' load reports.
        traffic: link between the loop's routes and the publisher, with the requests that clients reported.
    """

    publisher: Publisher
    ads: AdsService
    lrs: LoadReportService
    traffic: Traffic


@dataclass(frozen=True, slots=True)
class RouteServices:
    """What tells clients and the gateway where to send requests.

    Attributes:
        xds: services for clients, over one snapshot.
        transcoded: what the gateway's REST calls are answered with; None: there is no gateway.
    """

    xds: Xds
    transcoded: TranscodedServices | None


def make_route_services(settings: Settings, loop: Loop, counts: Counts, clock: SteadyClock) -> RouteServices:
    """Wire the xDS side."""
    traffic = Traffic(loop.emit, clock, loop.faults.report, loop.has_version)
    confirmed = ConfirmedRequests(traffic.loads, counts.workers.clients, counts.workers, clock)
    transcoded = transcoded_services() if settings.gateway_listen is not None else None
    frame = DoorFrame(transcoded.paths if transcoded is not None else (), settings.gateway_cors_origins)
    publisher = Publisher(traffic, time.monotonic, busy=confirmed.busy, tick=confirmed.expire, frame=frame)
    traffic.connect(publisher, confirmed)
    budgets = XdsBudgets(settings.max_xds_streams, settings.max_xds_names)
    reports = LoadReportService(traffic, time.monotonic, budgets, exists=loop.has_version)
    return RouteServices(Xds(publisher, AdsService(publisher, None, budgets), reports, traffic), transcoded)


def xds_counts(publisher: Publisher) -> XdsCounts:
    """Return what the metrics show of the streams."""
    stats = publisher.stats
    types = tuple(XdsTypeCounts(each.type.name, each.pushes, each.acks, each.nacks) for each in stats.by_type)
    return XdsCounts(stats.streams_open, types)
