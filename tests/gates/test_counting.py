"""Running totals to what came in since: falling totals, and our own probes."""

from __future__ import annotations

from collections.abc import Mapping

from echoplaned.core.ids import VersionKey
from echoplaned.core.rollout_state import Rollout
from echoplaned.core.spec import RolloutPolicy
from echoplaned.core.state import Model
from echoplaned.engines.worker_totals import WorkerTotals
from echoplaned.gates.collector import RolloutContext
from echoplaned.gates.counting import CountingOptions, CountsCollector, TotalsReader
from echoplaned.gates.gate import Observation
from echoplaned.gates.history import CountHistory
from echoplaned.ports.request_counts import RequestCounts
from echoplaned.ports.traffic import EngineCounters, EngineCounterSource, TrafficSource

NEW = VersionKey("m", "v2")
OLD = VersionKey("m", "v1")


class FixedTotals:
    """A source whose totals a test sets."""

    def __init__(self) -> None:
        self.counts: dict[VersionKey, RequestCounts] = {}

    def totals(self) -> Mapping[VersionKey, RequestCounts]:
        """Return what was set."""
        return self.counts


def collector(
    worker: TrafficSource, lrs: FixedTotals, clock: list[float], engines: EngineCounterSource | None = None
) -> CountsCollector:
    """Return what counts a rollout's requests, with books that began long ago."""
    history = CountHistory(worker, lambda: clock[0])
    clock[0] += 100.0
    history.sample()
    rollout = Rollout("r1", "m", "v1", "v2", RolloutPolicy(), "op1")
    context = RolloutContext(Model("m"), rollout, lambda: None, lambda: clock[0], lambda _: None, lambda: None)
    return CountsCollector({"LRS": lrs, "WORKER": worker}, engines, CountingOptions(history=history), context)


def test_claims_are_what_the_workers_counted_or_nothing() -> None:
    """Errors that no worker counted are looked into, told by no interval, and leave the load reports out with a reason."""
    worker, lrs, clock = FixedTotals(), FixedTotals(), [0.0]
    counts = collector(worker, lrs, clock)
    worker.counts = {NEW: RequestCounts(ok=5, arrivals=5)}
    lrs.counts = {NEW: RequestCounts(ok=5, server_errors=3, arrivals=8)}
    seen = counts.add_to(Observation(clock[0]))
    assert (seen.interval("LRS").new.ok, seen.interval("LRS").new.errors, seen.left_out) == (5, 0, ())
    assert counts.versions_to_reach() == (NEW,)
    clock[0] += 6.0
    seen = counts.add_to(Observation(clock[0]))
    assert seen.why_left_out("LRS").startswith("clients report 8 requests, and at most 5 requests arrived")
    assert counts.left_out == seen.why_left_out("LRS")
    assert counts.versions_to_reach() == ()


def test_a_version_that_we_cannot_reach_either_is_believed_to_fail() -> None:
    """Errors that clients report are told as soon as a connection of ours fails as well."""
    worker, lrs, clock = FixedTotals(), FixedTotals(), [0.0]
    counts = collector(worker, lrs, clock)
    lrs.counts = {NEW: RequestCounts(server_errors=3, arrivals=3)}
    assert counts.add_to(Observation(clock[0])).interval("LRS").new.errors == 0
    counts.probe_unreached(NEW)
    assert counts.add_to(Observation(clock[0])).interval("LRS").new.errors == 3
    assert not counts.left_out


def test_clients_of_an_engine_that_counts_no_arrivals_are_believed_while_it_starts_again() -> None:
    """Its clients say nothing else than before; that nobody is there who counts makes no liar of them."""
    worker, lrs, clock = WorkerTotals(), FixedTotals(), [0.0]
    counts = collector(worker, lrs, clock, worker)
    worker.declare(OLD, "a", EngineCounters())
    for second in range(1, 21):
        clock[0] += 1.0
        if second < 10:
            worker.update(OLD, "a", RequestCounts(steps=100 * second))
            lrs.counts = {OLD: RequestCounts(ok=10 * second, arrivals=10 * second)}
        elif second == 10:
            worker.on_ended(OLD, "a")
        counts.add_to(Observation(clock[0]))
    assert not counts.left_out
    assert counts.claim_audit.old.shown.ok == 90


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
