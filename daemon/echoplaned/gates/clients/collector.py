"""Gathers what the gate ``clients`` observes.

That is each client's own load reports, and whose traffic the routes alone steer.

The claims balance for all clients together (``gates.claim_audit``), so nobody knows whose claim is not true. What each client reports is
therefore handed out only once every claim up to then is shown, and dropped where one of them was neither shown nor refuted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from echoplaned.core.ids import VersionKey
from echoplaned.gates.claim_audit import ClaimAudit
from echoplaned.gates.client_reports import ClientReports, LookUpRouteOnlyClients
from echoplaned.gates.collector import Job
from echoplaned.gates.gate import Ask, Observation
from echoplaned.ports.conversations import ConversationSource
from echoplaned.ports.request_counts import NOTHING, Interval, RequestCounts
from echoplaned.ports.traffic import Caller, ClientSource, Reporter

Told = tuple[tuple[Reporter, Interval], ...]
"""What clients reported."""


class ClaimAuditSource(Protocol):
    """What holds clients' claims against the workers' counters."""

    @property
    def claim_audit(self) -> ClaimAudit:
        """The audit as it is after the last reading."""
        ...


class ClientsCollector:
    """Reads what each client has reported since the last reading.

    It does so for the two versions of a rollout.

    Clients are known by their streams of reports: one that comes back begins anew.

    Args:
        source: running totals client by client.
        audit: holds claims against the workers' counters.
        new: the version that comes.
        old: the version that it replaces.
        conversations: knows whether there are any; None: there are none. The gateway keeps each at one version, so that its requests
            are no draws of their own, and where there are some it is judged in the sum alone.
    """

    def __init__(
        self,
        source: ClientSource,
        audit: ClaimAuditSource,
        new: VersionKey,
        old: VersionKey,
        conversations: ConversationSource | None = None,
    ) -> None:
        self._source = source
        self._conversations = conversations
        self._audit = audit
        self._waiting: dict[Reporter, Interval] = {}
        self._dropped_errors = 0
        self._versions = (new, old)
        self._last = self._totals()
        self._asked = False

    def read(self) -> Told:
        """Return what each client has counted since the last reading.

        Clients that reported nothing are left out.
        """
        return self._judged(self._read_all())

    def _judged(self, told: Told) -> Told:
        """Leave out whose requests are no draws of their own."""
        model = self._versions[0].model
        in_sum = self._conversations is not None and self._conversations.has_conversations(model)
        return tuple(each for each in told if not (in_sum and each[0].keeps_conversations))

    def _read_all(self) -> Told:
        before, self._last = self._last, self._totals()
        new, old = (
            {r: counts.since(was.get(r, NOTHING)) for r, counts in now.items() if counts != was.get(r, NOTHING)}
            for was, now in zip(before, self._last, strict=True)
        )
        reporters = sorted(new.keys() | old.keys(), key=lambda r: r.stream)
        return tuple((r, Interval(new.get(r, NOTHING), old.get(r, NOTHING))) for r in reporters)

    # --- Collector ---

    def add_to(self, seen: Observation) -> Observation:
        """Add what came in since the last reading.

        Who is steered is added only where that is asked, as the look-up takes a while.
        """
        route_only_clients = (
            self._source.route_only_clients(self._versions[0].model) if self._asked else frozenset[Caller]()
        )
        ready, told = self._shown(), self._read_all()
        for reporter, interval in self._judged(told):
            self._waiting[reporter] = self._waiting.get(reporter, Interval()) + interval
        reports = ClientReports(ready, route_only_clients, *(self._split_old(told) if self._asked else ()))
        return replace(seen, parts=(*seen.parts, reports))

    def _split_old(self, told: Told) -> tuple[int, int]:
        """Return the requests of the old version, and those of clients that dial versions."""
        dialling = self._source.version_clients(self._versions[0].model)
        dialled = sum(interval.old.requests for reporter, interval in told if reporter.caller in dialling)
        return sum(interval.old.requests for _, interval in told), dialled

    def _shown(self) -> Told:
        """Take what waited, if every claim is shown by now.

        That is all that was reported up to the last reading.
        """
        audit = self._audit.claim_audit
        if audit.dropped_errors != self._dropped_errors or audit.left_out:
            self._dropped_errors = audit.dropped_errors
            self._waiting.clear()
        if not audit.is_settled:
            return ()
        ready, self._waiting = tuple(self._waiting.items()), {}
        return ready

    def take(self, asks: tuple[Ask, ...]) -> None:
        """Note whether the look-up is asked for."""
        self._asked = any(isinstance(ask, LookUpRouteOnlyClients) for ask in asks)

    def enter(self) -> None:
        """Begin a window: silences begin again, so nobody is suspected."""
        self._asked = False

    def jobs(self) -> Mapping[str, Job]:
        """Nothing to do between two readings."""
        return {}

    def _totals(self) -> tuple[dict[Reporter, RequestCounts], ...]:
        return tuple(dict(self._source.by_client(version)) for version in self._versions)
