"""What each source of request counts has counted over a rollout.

It also says whether a source went silent.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from echoplaned.gates.gate import Need, Observation, Source
from echoplaned.ports.request_counts import Interval

STALE_AFTER_S = 10.0
STALE_AFTER_REQUESTS = 10
"""A source is stale that was silent for so long while another one counted at least so many requests."""


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """One source's counts over a rollout.

    Attributes:
        source: the source.
        total: its counts in the window.
        last_s: when it last counted a request, seconds since the epoch; before the first one the begin of the evidence.
        elsewhere: requests that other sources counted since.
    """

    source: Source
    total: Interval = field(default_factory=Interval)
    last_s: float = 0.0
    elsewhere: int = 0

    @property
    def reporting(self) -> bool:
        """Whether its counts are asked for: it has counted this model before."""
        return self.source.reporting

    def is_stale(self, now_s: float) -> bool:
        """Whether the source is silent while it should report.

        What callers report may end when they please, and nothing waits for it.
        """
        if self.source.routed:
            return False
        return self.reporting and now_s - self.last_s > STALE_AFTER_S and self.elsewhere >= STALE_AFTER_REQUESTS

    def observe(self, seen: Observation, need: Need) -> SourceRecord:
        """Add what an interval brought.

        It is left out where the source does not count what is needed of it, or is not believed.
        """
        if seen.lacks_from(self.source.name, need) or seen.why_left_out(self.source.name):
            return replace(self, source=replace(self.source, reporting=False))
        interval = seen.interval(self.source.name)
        if interval.seen == 0:
            everywhere = sum(interval.requests for _, interval in seen.intervals)
            return replace(self, elsewhere=self.elsewhere + everywhere)
        return replace(
            self,
            source=replace(self.source, reporting=True),
            total=self.total + interval,
            last_s=seen.now_s,
            elsewhere=0,
        )

    def enter(self) -> SourceRecord:
        """Begin a window: its counts start again."""
        return replace(self, total=Interval())


def begin_records(sources: tuple[Source, ...], began_s: float) -> tuple[SourceRecord, ...]:
    """Return the records of sources that have counted nothing yet."""
    return tuple(SourceRecord(source, last_s=began_s) for source in sources)
