"""What the workers of a version count, added up, and which counters they have."""

from __future__ import annotations

from echoplaned.core.ids import VersionKey
from echoplaned.core.measure import Histogram, Measure
from echoplaned.core.token_counts import TokenCounts
from echoplaned.engines.token_ledger import TokenLedger
from echoplaned.engines.worker_totals import MAX_ENDED, WorkerTotals
from echoplaned.ports.request_counts import RequestCounts
from echoplaned.ports.traffic import EngineCounters

V1 = VersionKey("m", "v1")


def test_totals_never_fall_when_a_worker_goes() -> None:
    """What a worker counted stays, nothing of it is under way any more, and what came in after its last report may be as much again."""
    totals = WorkerTotals()
    totals.update(V1, "a", RequestCounts(ok=3, arrivals=5, in_flight=2))
    totals.update(V1, "b", RequestCounts(ok=1, arrivals=1))
    totals.on_ended(V1, "a")
    totals.on_ended(V1, "a")
    assert totals.totals() == {V1: RequestCounts(ok=4, arrivals=6, unreported=5)}


def test_a_version_counts_what_all_of_its_workers_count() -> None:
    """Unset is not zero: one worker without a counter takes it from the version, until that worker has gone."""
    totals = WorkerTotals()
    assert totals.engine_counters(V1) is None
    everything = EngineCounters(counts_arrivals=True, counts_errors=True, has_histograms=True, has_traces=True)
    totals.declare(V1, "a", everything)
    totals.declare(V1, "b", EngineCounters(counts_errors=True))
    assert totals.engine_counters(V1) == EngineCounters(counts_errors=True)
    assert totals.engine_counters(VersionKey("m", "v2")) is None
    totals.on_ended(V1, "b")
    assert totals.engine_counters(V1) == everything


def test_versions_that_are_gone_are_forgotten_one_day() -> None:
    """Totals of versions without a worker are bounded: the one that has been at rest for longest goes first, a live one never."""
    totals = WorkerTotals()
    totals.update(V1, "old", RequestCounts(ok=1))
    totals.on_ended(V1, "old")
    totals.update(V1, "new", RequestCounts(ok=1))
    for number in range(MAX_ENDED + 100):
        version = VersionKey("m", f"n{number}")
        totals.update(version, "w", RequestCounts(ok=1))
        totals.on_ended(version, "w")
    assert len(totals.totals()) <= MAX_ENDED
    assert totals.totals()[V1].ok == 2


def test_the_daemons_own_requests_are_no_clients() -> None:
    """What its probes and scorings add is taken off what clients may have sent, and stays in what the workers counted."""
    totals = WorkerTotals()
    totals.update(V1, "a", RequestCounts(ok=20, arrivals=20, calls=21))
    for _ in range(20):
        totals.probe_answered(V1)
    assert totals.clients.totals() == {V1: RequestCounts(calls=1)}
    assert totals.totals()[V1].arrivals == 20


def test_latencies_are_those_of_all_engines() -> None:
    """What an engine took that has gone stays in the version's histograms; another version has its own."""
    totals = WorkerTotals()
    first = Histogram(Measure.FIRST_TOKEN, (0.1, 1.0), (3, 1, 0), 1.5)
    for worker in ("a", "b"):
        totals.update(V1, worker, RequestCounts())
        totals.timed(V1, worker, (first,))
    both = Histogram(Measure.FIRST_TOKEN, (0.1, 1.0), (6, 2, 0), 3.0)
    assert totals.latencies(V1) == (both,)
    totals.on_ended(V1, "a")
    assert totals.latencies(V1) == (both,)
    assert totals.latencies(VersionKey("m", "v2")) == ()


def test_tokens_go_to_their_ledger() -> None:
    """With the end of the worker, which takes its name along and leaves the sum."""
    ledger = TokenLedger()
    totals = WorkerTotals(ledger)
    totals.count_tokens(V1, "a", TokenCounts(3, 4), is_adopted=False)
    totals.count_tokens(V1, "b", None, is_adopted=False)
    assert (ledger.report().totals, ledger.report().uncounted) == ({V1: TokenCounts(3, 4)}, {V1})
    totals.on_ended(V1, "b")
    assert (ledger.report().totals, ledger.report().uncounted) == ({V1: TokenCounts(3, 4)}, frozenset())


def test_a_version_between_two_workers_counts_what_the_last_one_counted() -> None:
    """While its only engine starts again, what that does not count is still no 0; a new one says anew what it counts."""
    totals = WorkerTotals()
    totals.declare(V1, "a", EngineCounters(has_traces=True))
    totals.update(V1, "a", RequestCounts(steps=9))
    totals.on_ended(V1, "a")
    assert totals.engine_counters(V1) == EngineCounters(has_traces=True)
    totals.declare(V1, "b", EngineCounters(counts_arrivals=True))
    assert totals.engine_counters(V1) == EngineCounters(counts_arrivals=True)
