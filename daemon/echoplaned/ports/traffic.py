"""Running totals of requests, by version and by client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from echoplaned.core.ids import VersionKey


@dataclass(frozen=True, slots=True)
class TrafficCounts:
    """Running totals of one version.

    ``client_errors`` are the callers' own mistakes; a source that cannot tell puts all in ``server_errors``.
    """

    ok: int = 0
    client_errors: int = 0
    server_errors: int = 0
    arrivals: int = 0
    in_flight: int = 0

    def __add__(self, other: TrafficCounts) -> TrafficCounts:
        """Add field by field."""
        return TrafficCounts(
            self.ok + other.ok,
            self.client_errors + other.client_errors,
            self.server_errors + other.server_errors,
            self.arrivals + other.arrivals,
            self.in_flight + other.in_flight,
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
