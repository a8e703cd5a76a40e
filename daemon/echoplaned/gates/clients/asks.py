"""What the gate ``clients`` observes and wants done outside of it."""

from __future__ import annotations

from dataclasses import dataclass

from echoplaned.gates.gate import Ask
from echoplaned.ports.request_counts import Interval
from echoplaned.ports.traffic import Caller, Reporter


@dataclass(frozen=True, slots=True)
class LookUpRouteOnlyClients(Ask):
    """Asks which clients' traffic the routes alone steer.

    It is asked where a client has been silent for long.
    """


@dataclass(frozen=True, slots=True)
class ClientReports:
    """What an interval brought of single clients; part of an observation.

    Attributes:
        intervals: what each client that reported something has counted.
        route_only_clients: clients whose traffic the routes alone steer; empty where nobody asked.
    """

    intervals: tuple[tuple[Reporter, Interval], ...] = ()
    route_only_clients: frozenset[Caller] = frozenset()
