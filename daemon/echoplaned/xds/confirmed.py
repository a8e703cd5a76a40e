"""Which clients have traffic that the workers confirm.

It is requests that the clients reported, and that the workers saw arrive.

A subscriber that refuses its routes can take everybody's update back, so its word counts only where it has something to lose: requests
in the last ``WINDOW_S``. It says so itself, in its load reports; what makes it believable is bookkeeping, as for the gates. All
clients together may have reported at most as many requests as arrived at the model's workers. And the client has to have more than may
be unreported at any moment, since so many requests of others it could have claimed as its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from echoplaned.core.ids import VersionKey
from echoplaned.ports.emit import Clock
from echoplaned.ports.request_counts import NOTHING, RequestCounts
from echoplaned.ports.traffic import Busy, Caller, EngineCounterSource, Reporter, TrafficSource
from echoplaned.xds.observer import LoadReport
from echoplaned.xds.recent import RecentRequests

WINDOW_S = 300.0
SLACK_S = 5.0
"""How far the clients' reports and the workers' counters may be apart."""

UNREPORTED_S = 2.0
"""By then a request is reported: clients report every second."""

SAMPLE_S = 2.0


@dataclass(frozen=True, slots=True)
class _Sample:
    """Totals at a time."""

    time_s: float
    claimed: Mapping[VersionKey, RequestCounts]
    counted: Mapping[VersionKey, RequestCounts]


class ConfirmedRequests:
    """Says which clients have confirmed requests.

    Use it from the loop's thread only.

    Args:
        claims: running totals of the load reports.
        counts: running totals of the workers' own counters.
        engines: says which counters engines have.
        clock: seconds since the epoch.

    Attributes:
        recent: what the clients reported.
    """

    def __init__(
        self, claims: TrafficSource, counts: TrafficSource, engines: EngineCounterSource, clock: Clock
    ) -> None:
        self._claims = claims
        self._counts = counts
        self._engines = engines
        self._clock = clock
        self._samples: deque[_Sample] = deque()
        self.recent = RecentRequests()
        self.sample()

    def sample(self) -> None:
        """Take a sample of the totals, where the last one is old enough.

        Samples that nobody asks for any more are dropped.
        """
        now_s = self._clock()
        if self._samples and now_s - self._samples[-1].time_s < SAMPLE_S:
            return
        self._samples.append(_Sample(now_s, dict(self._claims.totals()), dict(self._counts.totals())))
        while len(self._samples) > 2 and now_s - self._samples[1].time_s >= WINDOW_S:
            self._samples.popleft()

    def on_report(self, report: LoadReport) -> None:
        """Note a report of a version that exists, which is in the totals already."""
        reporter, model = report.reporter, report.version.model
        # Noted before the sample is taken: what a sample's totals hold is not later than the sample.
        self.recent.add(reporter, model, self._samples[-1].time_s, report.counts.requests)
        self.sample()
        self.recent.trim(reporter.caller, model, self._samples[0].time_s)

    def on_ended(self, reporter: Reporter) -> None:
        """Forget a client whose last stream of load reports has ended."""
        self.recent.on_ended(reporter)

    def expire(self) -> None:
        """Forget what is older than any sample; to be called every few seconds.

        Samples are taken as long as there is something to forget: a client may report once, and nothing again.
        """
        if len(self.recent):
            self.sample()
            self.recent.forget_before(self._samples[0].time_s)

    def busy(self, model: str, callers: Collection[Caller]) -> Busy:
        """Say which of a model's subscribers have confirmed requests.

        Where clients report what cannot be true, nobody has; that others call all the same is what the workers say.
        """
        self.sample()
        now_s = self._clock()
        counted = self._counts.totals()
        first = self._samples[0]
        # Reports of the first seconds are of requests from before them; those of the last may not be counted yet.
        begin = self._begin(first)
        end = next((each for each in reversed(self._samples) if now_s - each.time_s >= SLACK_S), None)
        if begin is None or end is None:
            return Busy()
        least = self._unreported(model, now_s, counted)
        if not self._balances(model, (first, begin, end), counted):
            return Busy(others=self._arrived(model, first, counted) > least)
        reported = {caller: self.recent.between(caller, model, begin.time_s, end.time_s) for caller in callers}
        return Busy(frozenset(caller for caller, count in reported.items() if count > least))

    def _begin(self, first: _Sample) -> _Sample | None:
        """Return the sample from which on reports count.

        Reports after it are of requests that came after the first sample.

        After a time without reports, in which no sample was taken, that is the last one before it.
        """
        before = first
        for each in self._samples:
            if each.time_s - first.time_s >= 2 * SLACK_S:
                return before
            if each.time_s - first.time_s >= SLACK_S:
                return each
            before = each
        return None

    def _balances(
        self, model: str, samples: tuple[_Sample, _Sample, _Sample], counted: Mapping[VersionKey, RequestCounts]
    ) -> bool:
        first, begin, end = samples
        for version, claims in end.claimed.items():
            if version.model != model:
                continue
            claimed = claims.requests - begin.claimed.get(version, NOTHING).requests
            before = first.counted.get(version, NOTHING)
            since = counted.get(version, NOTHING).since(before)
            has = self._engines.engine_counters(version)
            room = max(since.arrivals, since.calls) + since.unreported + before.in_flight
            if has is not None and not has.counts_arrivals:
                room = since.steps
            if claimed > room:
                return False
        return True

    def _unreported(self, model: str, now_s: float, counted: Mapping[VersionKey, RequestCounts]) -> int:
        """Return how many requests may be unreported by honest clients.

        These are requests that may have arrived and that no honest client has reported yet.
        """
        then = next((each for each in reversed(self._samples) if now_s - each.time_s >= UNREPORTED_S), self._samples[0])
        in_flight = sum(max(0, counts.in_flight) for version, counts in counted.items() if version.model == model)
        return self._arrived(model, then, counted) + in_flight

    @staticmethod
    def _arrived(model: str, then: _Sample, counted: Mapping[VersionKey, RequestCounts]) -> int:
        return sum(
            counts.since(then.counted.get(version, NOTHING)).arrivals
            for version, counts in counted.items()
            if version.model == model
        )
