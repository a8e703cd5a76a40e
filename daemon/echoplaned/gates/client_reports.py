"""What gates observe of clients' own reports, and want looked up of them."""

from __future__ import annotations

from dataclasses import dataclass

from echoplaned.gates.gate import Ask
from echoplaned.ports.request_counts import Interval
from echoplaned.ports.traffic import Caller, Reporter


@dataclass(frozen=True, slots=True)
class LookUpRouteOnlyClients(Ask):
    """Asks which clients' traffic the routes alone steer.

    It is asked where a client, or all of them, have been silent for long. Answered with it is how many requests are of clients that dial
    versions themselves.
    """


@dataclass(frozen=True, slots=True)
class ClientReports:
    """What an interval brought of single clients; part of an observation.

    Attributes:
        intervals: what each client that reported something has counted.
        route_only_clients: clients whose traffic the routes alone steer; empty where nobody asked.
        old_requests: requests of the old version that all clients reported, believed or not; None where nobody asked.
        old_dialled: of these, those of clients that dial a version by its own target.
    """

    intervals: tuple[tuple[Reporter, Interval], ...] = ()
    route_only_clients: frozenset[Caller] = frozenset()
    old_requests: int | None = None
    old_dialled: int = 0
