"""Claims against counters: what is shown at once, what waits, what is found out, and what honest clients may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echoplaned.core.ids import VersionKey
from echoplaned.gates.claim_audit import SLACK_S, ClaimAudit, VersionClaims
from echoplaned.gates.history import CountHistory
from echoplaned.ports.request_counts import Interval, RequestCounts
from echoplaned.ports.traffic import EngineCounters

NEW = VersionKey("m", "v2")


def claims(ok: int = 0, errors: int = 0) -> Interval:
    """Return what clients report of the new version."""
    return Interval(RequestCounts(ok=ok, server_errors=errors, arrivals=ok + errors), RequestCounts())


def counts(arrivals: int, ok: int = 0, errors: int = 0, client: int = 0) -> Interval:
    """Return what the new version's workers count."""
    return Interval(RequestCounts(ok, client, errors, arrivals), RequestCounts())


def follow(*steps: tuple[float, Interval, Interval]) -> tuple[ClaimAudit, list[Interval]]:
    """Add steps of time, claims and counts; return the audit and what was shown in each."""
    audit, shown = ClaimAudit(), []
    for now_s, claimed, counted in steps:
        audit, one = audit.add(now_s, claimed, counted)
        shown.append(one)
    return audit, shown


def test_what_the_workers_counted_is_shown_at_once() -> None:
    """Honest claims, errors of either kind among them, are evidence in the interval in which they come."""
    audit, shown = follow((0.5, Interval(), counts(10, ok=7, errors=2, client=1)), (1.0, claims(7, 3), Interval()))
    assert shown[1].new == RequestCounts(ok=7, server_errors=3, arrivals=10)
    assert audit.is_settled
    assert not audit.left_out


@pytest.mark.parametrize("errors", [1, 5, 20])
def test_made_up_errors_are_never_shown_and_found_out(errors: int) -> None:
    """An error without a counterpart waits, and after the slack everything clients report is left out."""
    steps = [(0.5, claims(errors=errors), counts(20, ok=20))]
    steps += [(1.0 + i, claims(ok=2), counts(2, ok=2)) for i in range(6)]
    audit, shown = follow(*steps)
    assert sum(each.new.errors for each in shown) == 0
    assert (
        audit.left_out
        == f"clients report {errors} errors, and at most 0 requests were not answered well of the new version"
    )
    assert shown[-1] == Interval()


def test_made_up_successes_are_shown_as_far_as_requests_came_and_found_out() -> None:
    """100,000 successes of a version that 12 requests reached are at most 12, and then none."""
    audit, shown = follow(
        (1.0, claims(ok=100_000), counts(10, ok=10)), (2.0, Interval(), counts(2, ok=2)), (6.0, Interval(), Interval())
    )
    assert [each.new.ok for each in shown] == [10, 2, 0]
    assert audit.left_out == "clients report 100000 requests, and at most 12 requests arrived of the new version"


def test_reports_may_come_before_the_counters() -> None:
    """A claim that is counted within the slack is shown then, and nothing is left out."""
    audit, shown = follow(
        (0.5, claims(3, 2), Interval()),
        (4.0, Interval(), counts(5, ok=3, errors=2)),
        (9.0, Interval(), Interval()),
        (20.0, Interval(), Interval()),
    )
    assert [each.new.requests for each in shown] == [0, 5, 0, 0]
    assert not audit.left_out


def test_calls_that_are_no_requests_cover_claims_and_show_nothing() -> None:
    """A client reports its questions for readiness too: they are no lie, and no success of the version's."""
    asked = Interval(RequestCounts(ok=2, arrivals=2, calls=9), RequestCounts())
    audit, shown = follow((0.5, claims(ok=9), asked), (6.0, Interval(), Interval()), (12.0, Interval(), Interval()))
    assert sum(each.new.ok for each in shown) == 2
    assert audit.is_settled
    assert not audit.left_out


def of_gateway(claimed: Interval) -> Interval:
    """Return what our gateway reports."""
    return replace(claimed, new=replace(claimed.new, gateway_errors=claimed.new.server_errors))


def test_what_the_gateway_calls_an_error_needs_a_server_error() -> None:
    """A caller's mistakes at the engine show no error of the gateway's, which is dropped; server errors show theirs."""
    audit, shown = follow(
        (0.5, of_gateway(claims(ok=5, errors=10)), counts(20, ok=5, client=13, errors=2)),
        (6.0, Interval(), Interval()),
        (6.5, of_gateway(claims(errors=3)), counts(3, errors=3)),
        (13.0, Interval(), Interval()),
    )
    assert [each.new.errors for each in shown] == [2, 0, 3, 0]
    assert (audit.dropped_errors, audit.is_settled, audit.left_out) == (8, True, "")


def test_clients_beside_the_gateway_are_shown_as_before() -> None:
    """A gRPC client does not tell its own mistakes apart: an engine's count of either kind shows them."""
    both = of_gateway(claims(errors=4))
    both = replace(both, new=both.new + claims(errors=3).new)
    _, shown = follow((0.5, both, counts(9, client=8, errors=1)))
    assert shown[0].new.errors == 4


def test_an_error_of_a_request_under_way_is_dropped() -> None:
    """A client that gave up on a request that still runs is no liar; its error speaks for nobody until a worker counts it."""
    audit, shown = follow(
        (0.5, claims(errors=1), counts(1)), (6.0, Interval(), Interval()), (7.0, Interval(), counts(0, ok=1))
    )
    assert [each.new.errors for each in shown] == [0, 0, 0]
    assert (audit.dropped_errors, audit.is_settled, audit.left_out) == (1, True, "")


def test_overloads_cover_errors_and_do_not_show_them() -> None:
    """A request that found no room is an error to its client, and no error of the version's."""
    overloaded = Interval(RequestCounts(ok=5, arrivals=9, overloads=4), RequestCounts())
    audit, shown = follow(
        (0.5, claims(5, 4), overloaded), (6.0, Interval(), Interval()), (12.0, Interval(), Interval())
    )
    assert sum(each.new.errors for each in shown) == 0
    assert not audit.left_out


def test_a_probe_that_finds_no_connection_confirms_errors() -> None:
    """Where a probe of ours is not let in either, errors that no worker saw are evidence."""
    audit, _ = ClaimAudit().add(1.0, claims(errors=4), Interval())
    audit, shown = audit.unreached(1.5, new=True).add(2.0, claims(errors=1), Interval())
    assert shown.new.errors == 5
    audit, _ = audit.add(9.0, Interval(), Interval())
    assert not audit.left_out


def test_a_dead_engines_last_requests_may_be_claimed() -> None:
    """What reached an engine after its last report is told by nobody: clients that report it are no false_reporters."""
    lost = Interval(RequestCounts(unreported=6), RequestCounts())
    audit, shown = follow((0.5, claims(4, 2), counts(1, ok=1)), (1.0, Interval(), lost), (7.0, Interval(), Interval()))
    assert sum(each.new.errors for each in shown) == 0
    assert not audit.left_out


def test_an_engine_that_counts_no_arrivals_is_bounded_by_its_progress() -> None:
    """A request costs at least one step: more successes than steps are found out, errors are told and decide nothing."""
    has = (EngineCounters(), EngineCounters())
    steps = Interval(RequestCounts(steps=30), RequestCounts())
    audit, shown = ClaimAudit().add(0.5, claims(20, 7), steps, has)
    assert (shown.new.ok, shown.new.errors) == (20, 7)
    audit, _ = audit.add(7.0, Interval(), Interval(), has)
    assert not audit.left_out
    audit, shown = audit.add(8.0, claims(20), Interval(), has)
    assert shown.new.ok == 10
    audit, _ = audit.add(8.0 + SLACK_S, Interval(), Interval(), has)
    assert audit.left_out == "clients report 40 requests, and at most 30 steps were computed of the new version"


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.booleans()),
        max_size=40,
    )
)
@settings(max_examples=100, deadline=None)
def test_what_is_shown_is_never_more_than_what_was_counted(steps: list[tuple[int, int, int, int, bool]]) -> None:
    """Whatever is claimed, at most the errors that workers counted are shown, and at most the requests that arrived."""
    audit, total, errors, arrivals = ClaimAudit(), RequestCounts(), 0, 0
    for i, (ok, failed, came, bad, honest) in enumerate(steps):
        wrong = min(bad, came)
        claimed = claims(came - wrong, wrong) if honest else claims(ok, failed)
        audit, shown = audit.add(0.5 * i, claimed, counts(came, ok=came - wrong, errors=wrong))
        total, errors, arrivals = total + shown.new, errors + wrong, arrivals + came
        assert min(shown.new.ok, shown.new.errors, shown.new.arrivals) >= 0
        assert total.errors <= errors
        assert total.arrivals <= arrivals
        assert audit.new.claimed.requests <= arrivals or not audit.is_settled or audit.left_out


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=40), st.integers(0, 8), st.integers(0, 8))
@settings(max_examples=100, deadline=None)
def test_honest_clients_are_never_left_out(steps: list[tuple[int, int]], late: int, counted_late: int) -> None:
    """However far the two streams are apart within the slack, and whoever reports nothing at all, true claims balance in the end."""
    true = [counts(ok + wrong, ok=ok, errors=wrong) for ok, wrong in steps]
    said = [claims(ok, wrong) for ok, wrong in steps]
    audit, nothing = ClaimAudit(), Interval()
    shown = RequestCounts()
    for i in range(len(steps) + 20):
        claimed = said[i - late] if 0 <= i - late < len(said) else nothing
        counted = true[i - counted_late] if 0 <= i - counted_late < len(true) else nothing
        audit, one = audit.add(0.5 * i, claimed, counted)
        shown += one.new
    assert not audit.left_out
    assert shown.ok == sum(ok for ok, _ in steps)
    assert shown.errors == sum(wrong for _, wrong in steps)


class Totals:
    """A source whose totals a test sets."""

    def __init__(self) -> None:
        self.counts: dict[VersionKey, RequestCounts] = {}

    def totals(self) -> Mapping[VersionKey, RequestCounts]:
        """Return what was set."""
        return self.counts


def test_the_books_begin_with_what_may_still_be_reported() -> None:
    """Requests of the last seconds before a rollout, and those that were under way then, may be claimed after its begin."""
    source, clock = Totals(), [100.0]
    history = CountHistory(source, lambda: clock[0])
    assert history.complete_from_s == 100.0 + SLACK_S
    for ok, arrivals, now_s in ((50, 53, 101.0), (60, 62, 104.0), (80, 81, 108.0)):
        clock[0] = now_s
        source.counts = {NEW: RequestCounts(ok=ok, arrivals=arrivals, in_flight=arrivals - ok)}
        history.sample()
    may = history.claimable(NEW, source.counts[NEW])
    assert (may.ok, may.arrivals) == (30, 31)
    assert VersionClaims(counted=may).counted.in_flight == 0
