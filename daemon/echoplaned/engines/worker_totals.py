"""What the engines count themselves, added up by version."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from echoplaned.core.ids import VersionKey
from echoplaned.core.measure import Histogram, add_histograms
from echoplaned.core.token_counts import TokenCounts
from echoplaned.engines.token_ledger import TokenLedger
from echoplaned.ports.request_counts import RequestCounts
from echoplaned.ports.traffic import EngineCounters

MAX_ENDED: Final = 4096
"""Versions without a worker whose totals are kept; beyond them the oldest is forgotten."""

REPORTS_RETAINED: Final = 10
"""Reports of each worker that tell how many requests reach it in the time in which it may go without another one (5 s)."""


class WorkerTotals:
    """Running totals of the workers' own counters, by version.

    A ``TrafficSource``, which also knows which counters the workers have.

    A worker counts from zero at its start; what it counted is kept when it goes, so that a version's totals never fall. What reached it
    after its last report is told by nobody: as many requests as in its last few reports may have, and are kept as ``unreported``.

    Args:
        tokens: adds up their tokens, over restarts of the daemon as well; None: one of its own.
    """

    def __init__(self, tokens: TokenLedger | None = None) -> None:
        self._tokens = tokens if tokens is not None else TokenLedger()
        self._live: dict[tuple[VersionKey, str], RequestCounts] = {}
        self._ended: dict[VersionKey, RequestCounts] = {}
        self._counters: dict[tuple[VersionKey, str], EngineCounters] = {}
        self._ended_counters: dict[VersionKey, EngineCounters] = {}
        self._arrivals: dict[tuple[VersionKey, str], deque[int]] = {}
        self._latencies: dict[tuple[VersionKey, str], tuple[Histogram, ...]] = {}
        self._ended_latencies: dict[VersionKey, tuple[Histogram, ...]] = {}
        self._probes: Counter[VersionKey] = Counter()
        self.clients = _WithoutProbes(self, self._probes)
        """The same without what the daemon's own probes and scorings add: what clients may have sent (a ``TrafficSource``)."""

    def update(self, version: VersionKey, process: str, counts: RequestCounts) -> None:
        """Take a worker's newest counters; ``process`` names one life of one worker."""
        self._live[version, process] = counts
        self._arrivals.setdefault((version, process), deque((0,), REPORTS_RETAINED)).append(counts.arrivals)

    def declare(self, version: VersionKey, process: str, counters: EngineCounters) -> None:
        """Take which counters a worker has.

        One that it lacks reads as 0, which is no evidence.
        """
        self._counters[version, process] = counters

    def timed(self, version: VersionKey, process: str, latencies: tuple[Histogram, ...]) -> None:
        """Take a worker's newest latencies."""
        self._latencies[version, process] = latencies

    def latencies(self, version: VersionKey) -> tuple[Histogram, ...]:
        """Return how long a version's requests took, one histogram a measure.

        Since the daemon started watching the version's workers.
        """
        live = (one for (key, _), found in self._latencies.items() if key == version for one in found)
        return add_histograms((*self._ended_latencies.get(version, ()), *live))

    def count_tokens(self, version: VersionKey, process: str, tokens: TokenCounts | None, *, is_adopted: bool) -> None:
        """Take the tokens that a worker counted since its start; None: it counts none."""
        self._tokens.count(version, process, tokens, is_adopted=is_adopted)

    def probe_answered(self, version: VersionKey) -> None:
        """Note that a worker of a version answered a request of the daemon's own.

        The worker counts it like any other.
        """
        self._probes[version] += 1

    def on_ended(self, version: VersionKey, process: str) -> None:
        """Keep what a worker counted that has gone."""
        self._tokens.on_ended(process)
        counters = self._counters.pop((version, process), None)
        timed = self._latencies.pop((version, process), ())
        last = self._live.pop((version, process), None)
        arrivals = self._arrivals.pop((version, process), None)
        if last is not None and arrivals is not None:
            whole = replace(last, unreported=max(0, arrivals[-1] - arrivals[0]))
            # Put last, so that the first is the one whose workers have been gone for longest.
            self._ended[version] = (self._ended.pop(version, RequestCounts()) + whole).at_rest()
            self._ended_latencies[version] = add_histograms((*self._ended_latencies.get(version, ()), *timed))
            if counters is not None:
                self._ended_counters[version] = counters
            self._drop_oldest()

    def totals(self) -> Mapping[VersionKey, RequestCounts]:
        """Return the totals since the daemon started watching."""
        totals = dict(self._ended)
        for (version, _), counts in self._live.items():
            totals[version] = totals.get(version, RequestCounts()) + counts
        return totals

    def engine_counters(self, version: VersionKey) -> EngineCounters | None:
        """Return what all present workers of a version count; None: none has ever said so.

        Where none is present it is what the last one counted. Its totals are still read while it starts again, and a counter that
        nobody has must not read as one that stands at 0: every client that calls such a version would be taken for a liar.
        """
        found: EngineCounters | None = None
        for (key, _), counters in self._counters.items():
            if key == version:
                found = counters if found is None else found & counters
        return found if found is not None else self._ended_counters.get(version)

    def _drop_oldest(self) -> None:
        if len(self._ended) > MAX_ENDED:
            live = {version for version, _ in self._live}
            oldest = next((version for version in self._ended if version not in live), None)
            if oldest is not None:
                del self._ended[oldest]
                self._ended_latencies.pop(oldest, None)
                self._ended_counters.pop(oldest, None)
                self._probes.pop(oldest, None)


class _WithoutProbes:
    """Running totals less the daemon's own requests, as far as these are answered."""

    def __init__(self, whole: WorkerTotals, probes: Mapping[VersionKey, int]) -> None:
        self._whole = whole
        self._probes = probes

    def totals(self) -> Mapping[VersionKey, RequestCounts]:
        """Return the totals since the daemon started watching."""
        return {
            version: replace(
                counts,
                ok=max(0, counts.ok - self._probes.get(version, 0)),
                arrivals=max(0, counts.arrivals - self._probes.get(version, 0)),
                calls=max(0, counts.calls - self._probes.get(version, 0)),
            )
            for version, counts in self._whole.totals().items()
        }
