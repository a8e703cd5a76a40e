"""Running totals of requests, by version and by client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from echoplaned.core.ids import VersionKey


@dataclass(frozen=True, slots=True)
class TrafficCounts:
    """Running totals of one version; unset is not zero: what is not counted is said.

    Attributes:
        ok: requests that were answered well.
        client_errors: the callers' own mistakes; a source that cannot tell puts all in ``server_errors``.
        server_errors: requests that failed otherwise.
        arrivals: requests that arrived.
        in_flight: requests under way now.
        counts_arrivals: whether arrivals and in_flight mean anything; one engine that does not count makes the sum say nothing.
        counts_errors: whether ok and both kinds of error mean anything.
    """

    ok: int = 0
    client_errors: int = 0
    server_errors: int = 0
    arrivals: int = 0
    in_flight: int = 0
    counts_arrivals: bool = True
    counts_errors: bool = True

    @property
    def is_counted(self) -> bool:
        """Whether everything that a comparison of versions needs is counted."""
        return self.counts_arrivals and self.counts_errors

    def __add__(self, other: TrafficCounts) -> TrafficCounts:
        """Add field by field."""
        return TrafficCounts(
            self.ok + other.ok,
            self.client_errors + other.client_errors,
            self.server_errors + other.server_errors,
            self.arrivals + other.arrivals,
            self.in_flight + other.in_flight,
            self.counts_arrivals and other.counts_arrivals,
            self.counts_errors and other.counts_errors,
        )


class TrafficSource(Protocol):
    """Running totals by version, from load reports (LRS) or from the workers themselves."""

    def totals(self) -> Mapping[VersionKey, TrafficCounts]:
        """Return the totals since the daemon started."""
        ...


@dataclass(frozen=True, slots=True)
class Reporter:
    """One client's stream of load reports. ``node``: the client's id, which others may share; ``stream``: tells the streams apart."""

    node: str
    stream: int


class ClientSource(Protocol):
    """Running totals client by client."""

    def by_client(self, version: VersionKey) -> Mapping[Reporter, TrafficCounts]:
        """Return the totals of every client that reports at present, since its stream of reports began."""
        ...

    def steered(self, model: str) -> frozenset[str]:
        """Return the node ids of which every stream follows the model's routes and dials none of its versions by itself."""
        ...
