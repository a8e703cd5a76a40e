"""What the engines count themselves, added up by version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from echoplaned.core.ids import VersionKey
from echoplaned.ports.traffic import TrafficCounts


class WorkerTotals:
    """Running totals of the workers' own counters, by version (a ``TrafficSource``).

    A worker counts from zero at its start; what it counted is kept when it goes, so that a version's totals never fall.
    """

    def __init__(self) -> None:
        self._live: dict[tuple[VersionKey, str], TrafficCounts] = {}
        self._ended: dict[VersionKey, TrafficCounts] = {}

    def update(self, version: VersionKey, process: str, counts: TrafficCounts) -> None:
        """Take a worker's newest counters; ``process`` names one life of one worker."""
        self._live[version, process] = counts

    def ended(self, version: VersionKey, process: str) -> None:
        """Keep what a worker counted that has gone."""
        last = self._live.pop((version, process), None)
        if last is not None:
            self._ended[version] = replace(self._ended.get(version, TrafficCounts()) + last, in_flight=0)

    def totals(self) -> Mapping[VersionKey, TrafficCounts]:
        """Return the totals since the daemon started watching."""
        totals = dict(self._ended)
        for (version, _), counts in self._live.items():
            totals[version] = totals.get(version, TrafficCounts()) + counts
        return totals
