"""Where running totals of requests come from.

By version, by client, and what an engine's counters hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from echoplaned.core.ids import VersionKey
from echoplaned.ports.request_counts import RequestCounts


class TrafficSource(Protocol):
    """Running totals of requests by version.

    From load reports (LRS) or from the workers themselves.
    """

    def totals(self) -> Mapping[VersionKey, RequestCounts]:
        """Return the totals since the daemon started."""
        ...


@dataclass(frozen=True, slots=True)
class Caller:
    """A client, told from others by its transport connection.

    gRPC clients and Envoy have both streams on one connection.

    Attributes:
        node: the client's id, which is free text and proves nothing.
        peer: address of the connection's other end.
    """

    node: str
    peer: str = ""


@dataclass(frozen=True, slots=True)
class Busy:
    """Which clients of a model have traffic.

    Attributes:
        callers: clients that have confirmed requests.
        others: whether there are requests that cannot be told to be any client's, as clients report what cannot be true.
    """

    callers: frozenset[Caller] = frozenset()
    others: bool = False


@dataclass(frozen=True, slots=True)
class Reporter:
    """One client's stream of load reports.

    Attributes:
        node: the client's id, which others may share.
        stream: a number that tells the streams apart.
        peer: address of the connection's other end.
        keeps_conversations: whether it is the daemon's own gateway, which keeps a conversation at one version.
    """

    node: str
    stream: int
    peer: str = ""
    keeps_conversations: bool = False

    @property
    def caller(self) -> Caller:
        """The client that reports."""
        return Caller(self.node, self.peer)


class ClientSource(Protocol):
    """Running totals client by client."""

    def by_client(self, version: VersionKey) -> Mapping[Reporter, RequestCounts]:
        """Return the totals of every client that reports at present.

        Each total runs since the client's stream of reports began.
        """
        ...

    def route_only_clients(self, model: str) -> frozenset[Caller]:
        """Return the clients whose traffic to a model its routes alone steer.

        Every stream of theirs follows the model's routes and dials none of its versions by itself.
        """
        ...

    def version_clients(self, model: str) -> frozenset[Caller]:
        """Return the clients that dial a version of a model by its own target."""
        ...


@dataclass(frozen=True, slots=True)
class EngineCounters:
    """Which counters an engine has; one that it lacks reads as 0 and means nothing.

    Attributes:
        counts_arrivals: whether it counts requests as they arrive.
        counts_errors: whether it counts how requests ended.
        has_histograms: whether it counts requests by latency bucket.
        has_traces: whether it reports what single requests answered.
    """

    counts_arrivals: bool = False
    counts_errors: bool = False
    has_histograms: bool = False
    has_traces: bool = False

    def __and__(self, other: EngineCounters) -> EngineCounters:
        """Return what both engines have."""
        return EngineCounters(
            self.counts_arrivals and other.counts_arrivals,
            self.counts_errors and other.counts_errors,
            self.has_histograms and other.has_histograms,
            self.has_traces and other.has_traces,
        )


class EngineCounterSource(Protocol):
    """Says which counters the engines of a version have."""

    def engine_counters(self, version: VersionKey) -> EngineCounters | None:
        """Return the counters that all present engines of a version have.

        Where none is present it is those of the last one. None: no engine has ever said which it has.
        """
        ...
