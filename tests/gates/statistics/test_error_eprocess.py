"""The error gate's e-process: that its factors are fair, that it finds, and that it does not blame for an outage."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echoplaned.gates.statistics.bets import FIRST_STAKE, RATIOS, Bets, log_factors, log_sum
from echoplaned.gates.statistics.error_eprocess import (
    BLAME_E_VALUE,
    ErrorTest,
    SourceEvidence,
    close,
    combined_log_e,
    concurrent_log_e,
    stake,
    update,
)
from echoplaned.ports.request_counts import Interval, RequestCounts

TEST = ErrorTest(alpha=0.001, slo_error_rate=0.01)


def tally(requests: int, errors: int = 0, *, client: bool = False) -> RequestCounts:
    """Return a tally with errors of one kind."""
    ok = requests - errors
    return RequestCounts(ok, errors, 0, requests) if client else RequestCounts(ok, 0, errors, requests)


def fresh() -> SourceEvidence:
    """Return the evidence of a source that tells callers' mistakes, at the begin of a rollout."""
    return stake(SourceEvidence(tells_client_errors=True))


@settings(deadline=None, max_examples=150)
@given(new=st.integers(1, 40), old=st.integers(1, 60), errors=st.integers(0, 100))
def test_a_block_is_fair_given_its_counts(new: int, old: int, errors: int) -> None:
    """Over all ways in which the errors may fall (hypergeometric), no ratio's factor has an expectation above 1."""
    total = new + old
    errors = min(errors, total)
    expectations = [0.0] * len(RATIOS)
    for hits in range(max(0, errors - old), min(errors, new) + 1):
        chance = math.comb(new, hits) * math.comb(old, errors - hits) / math.comb(total, errors)
        for i, factor in enumerate(log_factors(hits, errors, new / total)):
            expectations[i] += chance * math.exp(factor)
    assert max(expectations) <= 1.0 + 1e-9


@settings(deadline=None, max_examples=100)
@given(trials=st.integers(1, 60), chance=st.floats(0.0, 1.0), true=st.floats(0.0, 1.0))
def test_the_one_sample_ratio_is_fair_below_its_bound(trials: int, chance: float, true: float) -> None:
    """With any error probability of at most the bound, no ratio's factor has an expectation above 1."""
    true = min(true, chance)
    for i in range(len(RATIOS)):
        expectation = math.fsum(
            math.comb(trials, k) * true**k * (1 - true) ** (trials - k) * math.exp(log_factors(k, trials, chance)[i])
            for k in range(trials + 1)
        )
        assert expectation <= 1.0 + 1e-9


def test_the_stakes_never_exceed_the_capital() -> None:
    """However often a stake is bet, capital and cash stay 1 in total until something is won or lost."""
    bets = Bets()
    assert bets.log_e == 0.0
    for _ in range(50):
        bets = bets.stake_next()
        assert math.exp(bets.log_e) == pytest.approx(1.0)
    lost = bets.grow((-1000.0,) * len(RATIOS))
    assert math.exp(lost.log_e) == pytest.approx((1 - FIRST_STAKE) / 50)


def test_a_late_change_is_found_after_much_healthy_traffic() -> None:
    """100,000 healthy requests do not bury a failure that begins in a later stage: a fresh stake finds it within 400 requests."""
    evidence = fresh()
    for _ in range(200):
        evidence = update(evidence, Interval(tally(250, 2), tally(250, 2)), TEST)
    assert evidence.log_e < 0
    evidence = stake(evidence)
    for _ in range(4):
        evidence = update(evidence, Interval(tally(100, 20), tally(100, 1)), TEST)
    assert evidence.log_e > math.log(1000)
    assert evidence.concurrent.log_e > math.log(BLAME_E_VALUE)


def test_huge_counts_stay_finite() -> None:
    """A billion requests overflow nothing, either way."""
    bad = update(fresh(), Interval(tally(10**9, 10**8), tally(10**9, 10**5)), TEST)
    assert math.isfinite(bad.log_e)
    assert bad.log_e > 1e6
    good = update(fresh(), Interval(tally(10**9, 10**5), tally(10**9, 10**5)), TEST)
    assert math.isfinite(good.log_e)
    assert good.log_e < 0
    assert log_sum(()) == -math.inf


def test_an_error_free_interval_changes_only_the_service_level() -> None:
    """Without an error the comparison says nothing, and the service level speaks for the new version."""
    evidence = update(fresh(), Interval(tally(50), tally(950)), TEST)
    assert evidence.concurrent.log_e == pytest.approx(0.0)
    assert evidence.slo.log_e < 0.0


def test_client_errors_count_in_the_comparison_only() -> None:
    """Callers' mistakes at the new version are compared with the old one's and never held against the service level."""
    interval = Interval(tally(50, 10, client=True), tally(950, 1, client=True))
    evidence = update(fresh(), interval, TEST)
    assert evidence.comparison.log_e > math.log(1000)
    assert evidence.slo.log_e < 0.0


def test_a_source_that_cannot_tell_is_not_held_against_the_service_level() -> None:
    """Errors of unknown kind at both versions alike (10 %) leave the e-value of such a source small."""
    evidence = stake(SourceEvidence(tells_client_errors=False))
    for _ in range(100):
        evidence = update(evidence, Interval(tally(50, 5), tally(50, 5)), TEST)
    assert evidence.log_e < 0.0


def test_small_intervals_are_gathered_into_blocks() -> None:
    """Nothing is judged before a block has both versions in it, however many requests of one of them it has."""
    evidence = fresh()
    for _ in range(30):
        evidence = update(evidence, Interval(RequestCounts(), tally(1)), TEST)
    assert evidence.block.old.requests == 30
    evidence = update(evidence, Interval(tally(1, 1), RequestCounts()), TEST)
    assert evidence.block.requests == 0
    assert evidence.concurrent.log_e > 0.0


def test_a_change_of_weights_closes_the_block() -> None:
    """A block that is closed early is judged by its own share, and an empty one changes nothing."""
    open_block = update(fresh(), Interval(tally(1, 1), tally(7)), TEST)
    assert open_block.concurrent.log_e == pytest.approx(0.0)
    closed = close(open_block, TEST)
    assert closed.concurrent.log_e > 0.0
    assert close(closed, TEST) == closed


def test_the_share_is_the_observed_one() -> None:
    """Three times the nominal share with the same error rate is no evidence: the weight does not enter."""
    evidence = fresh()
    for _ in range(50):
        evidence = update(evidence, Interval(tally(150, 3), tally(850, 17)), TEST)
    assert evidence.concurrent.log_e < math.log(2)


def test_errors_that_come_back_faster_than_answers_are_not_too_surprising() -> None:
    """Where most of the new version's requests are still under way, its share is taken from the arrivals."""
    new = RequestCounts(ok=0, server_errors=2, arrivals=10)
    interval = Interval(new, tally(90, 2))
    assert interval.share == pytest.approx(0.1)


def test_an_outage_of_both_breaks_the_service_level_and_blames_nobody() -> None:
    """When both versions fail alike the service level's e-value explodes and the comparison's stays below the blame."""
    random = Random(5)
    blamed = 0
    for _ in range(200):
        evidence = fresh()
        for _ in range(40):
            new = sum(random.random() < 0.3 for _ in range(5))
            old = sum(random.random() < 0.3 for _ in range(95))
            evidence = update(evidence, Interval(tally(5, new), tally(95, old)), TEST)
            if evidence.concurrent.log_e >= math.log(BLAME_E_VALUE):
                blamed += 1
                break
        else:
            assert evidence.log_e > math.log(1000)
    assert blamed <= 2  # at most 1 / BLAME_E_VALUE of 200


def test_from_three_quarters_on_the_old_versions_record_is_compared_with() -> None:
    """At 100 % the concurrent comparison is blind, the recorded bound is not."""
    evidence = fresh()
    for _ in range(20):
        evidence = update(evidence, Interval(tally(50), tally(50)), TEST)
    assert evidence.reference.requests == 1000
    evidence = stake(evidence)
    for _ in range(10):
        evidence = update(evidence, Interval(tally(100, 20), RequestCounts()), TEST, soaking=True)
    assert evidence.comparison.log_e > math.log(1000)
    assert evidence.concurrent.log_e == pytest.approx(0.0, abs=1e-6)


def test_without_a_record_a_high_share_says_nothing() -> None:
    """With no requests of the old version on record there is nothing to compare with."""
    evidence = update(fresh(), Interval(tally(100, 50, client=True), RequestCounts()), TEST, soaking=True)
    assert evidence.comparison.log_e == pytest.approx(0.0)


def test_sources_are_averaged() -> None:
    """One source that is certain and one that knows nothing give half the e-value."""
    sure = update(fresh(), Interval(tally(50, 25), tally(950)), TEST)
    knows_nothing = fresh()
    both = (sure, knows_nothing)
    assert combined_log_e(both) == pytest.approx(sure.log_e - math.log(2), abs=1e-3)
    assert concurrent_log_e(both) == pytest.approx(sure.concurrent.log_e - math.log(2), abs=1e-3)
    assert combined_log_e(()) == 0.0
