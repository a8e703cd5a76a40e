"""Silence at a version with weight, and paired probes."""

from __future__ import annotations

import math
from random import Random

import pytest

from echoplaned.gates.statistics import pairs, silence
from echoplaned.gates.statistics.pairs import PairEvidence, PairOutcome
from echoplaned.gates.statistics.silence import TRUST_ROUTED, SilenceEvidence
from echoplaned.ports.request_counts import Interval, RequestCounts

ALPHA = 1e-4


def arriving(new: int, old: int) -> Interval:
    """Return an interval of silence."""
    return Interval(RequestCounts(ok=new, arrivals=new), RequestCounts(ok=old, arrivals=old))


def after(intervals: list[Interval], weight: float) -> SilenceEvidence:
    """Return the evidence after intervals of half a second each."""
    evidence = SilenceEvidence()
    for i, interval in enumerate(intervals):
        evidence = silence.update(evidence, interval, weight, TRUST_ROUTED, 0.5 * i)
        evidence = silence.test(evidence, ALPHA, 0.5 * i, 1.0)
    return evidence


def test_silence_at_a_version_with_weight_fails() -> None:
    """At 5 % and 50 requests/s a version that nobody reaches fails within 10 s, and holds from the first seconds on."""
    assert not after([arriving(0, 25)] * 6, 0.05).failed
    assert silence.is_awaited(after([arriving(0, 25)] * 6, 0.05))
    assert after([arriving(0, 25)] * 20, 0.05).failed


def test_one_burst_does_not_fail() -> None:
    """However many requests one late report brings at once, a silence of no length is no silence."""
    assert not after([arriving(0, 100_000)], 0.05).failed


def test_no_traffic_is_no_evidence() -> None:
    """Without a request of the old version nothing is expected, and without weight nothing is either."""
    assert after([arriving(0, 0)] * 100, 0.05) == SilenceEvidence()
    assert after([arriving(0, 50)] * 100, 0.0) == SilenceEvidence()


def test_an_arrival_ends_the_silence_and_spends_budget() -> None:
    """A request that arrives starts the silence anew, and every run asks for more than the one before."""
    evidence = after([arriving(0, 25)] * 10 + [arriving(1, 25)], 0.05)
    assert evidence == SilenceEvidence(runs=2)
    assert silence.restart(evidence) == SilenceEvidence(runs=3)


def test_half_the_share_rarely_fails() -> None:
    """Clients that give the version only half of its weight fail it in at most the budget: never in 200 seeded runs of 60 s."""
    random = Random(11)
    failed = 0
    for _ in range(200):
        intervals = []
        for _ in range(120):
            new = sum(random.random() < 0.025 for _ in range(10))
            intervals.append(arriving(new, 10 - new))
        failed += after(intervals, 0.05).failed
    assert failed == 0


def evidence_of(*outcomes: tuple[bool, bool], times: int = 1) -> PairEvidence:
    """Return the evidence of pairs (new, old)."""
    evidence = PairEvidence()
    for new_ok, old_ok in outcomes * times:
        evidence = pairs.update(evidence, PairOutcome(new_ok, old_ok, "" if new_ok and old_ok else "refused"))
    return evidence


def test_a_version_that_alone_fails_is_found_within_fifteen_pairs() -> None:
    """Fifteen failures of the new version alone are an e-value of 10,000; eight are one of 100."""
    assert evidence_of((False, True), times=15).log_e >= math.log(10_000)
    assert evidence_of((False, True), times=8).log_e >= math.log(100)
    assert evidence_of((False, True), times=8).detail == "refused"


def test_pairs_in_which_both_fail_or_pass_say_nothing() -> None:
    """Only pairs that differ move the e-value."""
    assert evidence_of((True, True), (False, False), times=50).log_e == pytest.approx(0.0)
    assert evidence_of((True, True), (False, False)).both_failed_last


def test_equal_failure_rates_do_not_fail() -> None:
    """Versions that fail a fifth of the probes each, independently, reach 1,000 in at most 2 of 400 seeded runs of 200 pairs."""
    random = Random(3)
    fired = 0
    for _ in range(400):
        evidence = PairEvidence()
        for _ in range(200):
            evidence = pairs.update(evidence, PairOutcome(random.random() >= 0.2, random.random() >= 0.2))
            if evidence.log_e >= math.log(1000):
                fired += 1
                break
    assert fired <= 2


def test_a_failure_starts_the_row_again() -> None:
    """A version passes after a row without a failure of its own; the old one's failures do not matter."""
    assert evidence_of((True, True), times=60).row == 60
    assert evidence_of((True, False), times=60).row == 60
    assert evidence_of(*[(True, True)] * 59, (False, False), (True, True)).row == 1


def test_a_window_keeps_what_blames() -> None:
    """Another window counts its own row and keeps the e-value of the rollout."""
    before = evidence_of((False, True), (True, True), times=4)
    entered = pairs.next_window(before)
    assert (entered.row, entered.window_pairs) == (0, 0)
    assert entered.log_e == before.log_e
