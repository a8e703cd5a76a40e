"""What callers of the gateway used, by client and version."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, TypeAlias

from echoplaned.core.numbers import MAX_COUNT, clamp_count, clamp_real

OTHER_CLIENTS: Final = "other"
"""Stands for every client beyond the number that is counted apart."""


@dataclass(frozen=True, slots=True, order=True)
class UsageKey:
    """Who used what.

    Attributes:
        client: id of the client's key; empty: it is not known.
        model: whose version answered; empty: none did.
        version: that answered; empty: none did.
    """

    client: str = ""
    model: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class UsageTotals:
    """How much was used.

    Attributes:
        ok: requests that were answered well.
        client_errors: requests refused for what the caller sent.
        server_errors: requests that failed otherwise.
        unanswered: requests whose caller left before the answer's end.
        received_bytes: of the requests' bodies.
        sent_bytes: of the answers' bodies.
        duration_s: from each request's begin to its end, added up, in seconds.
    """

    ok: int = 0
    client_errors: int = 0
    server_errors: int = 0
    unanswered: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0
    duration_s: float = 0.0

    @property
    def requests(self) -> int:
        """Requests that ended."""
        return self.ok + self.client_errors + self.server_errors + self.unanswered

    def __add__(self, other: UsageTotals) -> UsageTotals:
        return UsageTotals(
            clamp_count(self.ok + other.ok),
            clamp_count(self.client_errors + other.client_errors),
            clamp_count(self.server_errors + other.server_errors),
            clamp_count(self.unanswered + other.unanswered),
            clamp_count(self.received_bytes + other.received_bytes),
            clamp_count(self.sent_bytes + other.sent_bytes),
            clamp_real(self.duration_s + other.duration_s, 0.0, MAX_COUNT),
        )


@dataclass(frozen=True, slots=True)
class UsageReport:
    """What was used since counting began.

    Attributes:
        start_s: when counting began, seconds since the epoch.
        usages: how much, by whom of what.
    """

    start_s: float = 0.0
    usages: Mapping[UsageKey, UsageTotals] = field(default_factory=lambda: MappingProxyType({}))


ReadUsage: TypeAlias = Callable[[], UsageReport]
"""Returns what was used until now, some seconds late."""
