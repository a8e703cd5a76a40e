"""Where an engine's counters go, and what its requests said: no events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from echoplaned.core.ids import VersionKey
from echoplaned.core.measure import Histogram
from echoplaned.core.token_counts import TokenCounts
from echoplaned.ports.emit import Clock
from echoplaned.ports.request_counts import RequestCounts
from echoplaned.ports.traces import RequestTrace
from echoplaned.ports.traffic import EngineCounters


class CounterSink(Protocol):
    """Takes the engines' own counters; ``process`` names one life of one leader."""

    def update(self, version: VersionKey, process: str, counts: RequestCounts) -> None:
        """Take an engine's newest counters, which grow from zero with its leader."""
        ...

    def declare(self, version: VersionKey, process: str, counters: EngineCounters) -> None:
        """Take which counters an engine has; a missing one's 0 is no evidence."""
        ...

    def timed(self, version: VersionKey, process: str, latencies: tuple[Histogram, ...]) -> None:
        """The newest latencies of an engine; they begin at zero with it."""
        ...

    def count_tokens(self, version: VersionKey, process: str, tokens: TokenCounts | None, *, is_adopted: bool) -> None:
        """Take the tokens that an engine counted since its start; None: it counts none.

        ``is_adopted``: an earlier daemon started it.
        """
        ...

    def on_ended(self, version: VersionKey, process: str) -> None:
        """The leader has gone."""
        ...


class TraceSink(Protocol):
    """Takes what requests said; ``process`` names one life of one leader."""

    def take(self, version: VersionKey, process: str, traces: tuple[RequestTrace, ...], dropped: int) -> None:
        """Take traces, in order of end; ``dropped``: by the leader since it began."""
        ...

    def on_ended(self, version: VersionKey, process: str) -> None:
        """The leader has gone."""
        ...


@dataclass(frozen=True, slots=True)
class Tracing:
    """Where traces of requests go, and how many are taken.

    Attributes:
        sink: receiver of the traces.
        fraction: share of requests that are traced, 0 to 1.
        clock: seconds since the epoch.
    """

    sink: TraceSink
    fraction: float
    clock: Clock
