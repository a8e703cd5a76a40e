"""Running totals to what came in since: falling totals, and our own probes."""

from __future__ import annotations

from collections.abc import Mapping

from echoplaned.core.ids import VersionKey
from echoplaned.gates.counting import TotalsReader
from echoplaned.ports.request_counts import RequestCounts

NEW = VersionKey("m", "v2")
OLD = VersionKey("m", "v1")


class FixedTotals:
    """A source whose totals a test sets."""

    def __init__(self) -> None:
        self.counts: dict[VersionKey, RequestCounts] = {}

    def totals(self) -> Mapping[VersionKey, RequestCounts]:
        """Return what was set."""
        return self.counts


def test_totals_that_fall_count_as_nothing() -> None:
    """A source that starts again at 0 gives no negative counts, and goes on from there."""
    source = FixedTotals()
    source.counts = {NEW: RequestCounts(ok=10, arrivals=10)}
    reader = TotalsReader({"WORKER": source}, NEW, OLD, frozenset())
    source.counts = {NEW: RequestCounts(ok=3, arrivals=3)}
    assert dict(reader.read(0.0))["WORKER"].seen == 0
    source.counts = {NEW: RequestCounts(ok=5, arrivals=5)}
    assert dict(reader.read(1.0))["WORKER"].new.ok == 2
    assert reader.has_reported("WORKER")


def test_probes_are_taken_off_the_counts_that_hold_them() -> None:
    """Probes, good and failed, are taken off wherever and whenever a source counts them; other requests stay."""
    source = FixedTotals()
    reader = TotalsReader({"WORKER": source, "LRS": source}, NEW, OLD, frozenset({"WORKER"}))
    for _ in range(3):
        reader.probe_sent(NEW, 0.0)
    reader.probe_failed(NEW)
    source.counts = {NEW: RequestCounts(ok=1, arrivals=3)}
    first = dict(reader.read(0.5))
    source.counts = {NEW: RequestCounts(ok=7, server_errors=2, arrivals=10)}
    second = dict(reader.read(1.0))
    worker = first["WORKER"].new + second["WORKER"].new
    assert (worker.ok, worker.server_errors, worker.arrivals) == (5, 1, 7)
    assert (first["LRS"].new + second["LRS"].new).ok == 7


def test_a_probe_that_nobody_counted_is_not_waited_for() -> None:
    """What is owed is dropped after ten seconds, so that an engine without counters does not lose real requests."""
    source = FixedTotals()
    reader = TotalsReader({"WORKER": source}, NEW, OLD, frozenset({"WORKER"}))
    reader.probe_sent(OLD, 0.0)
    source.counts = {OLD: RequestCounts(ok=4, arrivals=4)}
    assert dict(reader.read(11.0))["WORKER"].old.ok == 4
