"""Verdicts of a window: what passes, what holds, what fails, and the reasons."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from echoplaned.core.rollout_state import Evidence, GateVerdict
from echoplaned.core.spec import RolloutPolicy
from echoplaned.gates.errors.evidence import ErrorsEvidence
from echoplaned.gates.evaluation import RolloutEvidence, enter, observe, weigh
from echoplaned.gates.gate import Observation, Source
from echoplaned.gates.statistics.pairs import PairOutcome
from echoplaned.gates.window import Window
from echoplaned.ports.request_counts import Interval, RequestCounts
from tests.gates.judging import asks_for_pairs, begin, evidence_of, passes, verdict

POLICY = RolloutPolicy()
WORKER = Source("WORKER", tells_client_errors=True, routed=False)
LRS = Source("LRS", tells_client_errors=False, routed=True)
GOOD_PAIR = PairOutcome(new_ok=True, old_ok=True)


def ok(requests: int) -> RequestCounts:
    """Return good answers."""
    return RequestCounts(ok=requests, arrivals=requests)


def failing(requests: int, server: int = 0, client: int = 0) -> RequestCounts:
    """Return answers of which some are errors."""
    return RequestCounts(requests - server - client, client, server, requests)


def started(stage: int = 1, policy: RolloutPolicy = POLICY, *sources: Source) -> RolloutEvidence:
    """Return the evidence at the begin of a stage, at time 0."""
    return begin(Window(policy, stage, 1, 0.0), sources or (WORKER,))


def seeing(
    evidence: RolloutEvidence, now_s: float, interval: Interval | None = None, pairs: int = 0
) -> RolloutEvidence:
    """Take in one interval of the workers' counts and a number of good pairs."""
    intervals = (("WORKER", interval),) if interval is not None else ()
    return observe(evidence, Observation(now_s, intervals, 0.05, 1, 0, (GOOD_PAIR,) * pairs))


def errors_of(evidence: RolloutEvidence) -> ErrorsEvidence:
    """Return what the error gate knows."""
    return evidence_of(evidence, ErrorsEvidence)


def test_no_data_holds_until_probes_decide() -> None:
    """Without a request the stage holds, asks for probes, and passes only with all of them, saying that they are the evidence."""
    evidence = seeing(started(), 1.0)
    judged = weigh(evidence, 1.0)
    assert verdict(judged, "errors").reason.startswith("MINIMUM_TIME: 1.0 s of 5 s")
    assert not asks_for_pairs(judged)
    judged = weigh(evidence, 6.0)
    assert asks_for_pairs(judged)
    assert verdict(judged, "errors").reason.startswith("LIVE_EVIDENCE_MISSING")
    assert verdict(judged, "probes").verdict is GateVerdict.HOLD
    judged = weigh(seeing(evidence, 6.0, pairs=59), 6.0)
    assert not passes(judged)
    judged = weigh(seeing(evidence, 6.0, pairs=60), 6.0)
    assert passes(judged)
    assert not asks_for_pairs(judged)
    assert verdict(judged, "errors").evidence is Evidence.PROBES
    assert 0.9 < verdict(judged, "errors").confidence < 1.0


def test_no_data_never_passes_without_probes() -> None:
    """However long nothing happens, neither with sources that never spoke nor with ones that fell silent does a stage pass."""
    for sources in ((WORKER,), (WORKER, LRS), (replace(WORKER, reporting=True), replace(LRS, reporting=True))):
        evidence = started(1, POLICY, *sources)
        for now_s in (0.0, 5.0, 100.0, 599.0, 10_000.0):
            evidence = seeing(evidence, now_s)
            assert not passes(weigh(evidence, now_s))


def test_the_minimum_time_is_kept_and_doubled_in_extended_stages() -> None:
    """Plenty of good evidence passes at 5 s, in an extended stage at 10 s and with paired probes only."""
    interval = Interval(ok(400), ok(400))
    evidence = seeing(started(), 4.9, interval)
    assert not passes(weigh(evidence, 4.9))
    assert passes(weigh(evidence, 5.0))
    extended = seeing(started(4), 5.0, interval, pairs=60)
    assert verdict(weigh(extended, 9.9), "errors").reason.startswith("MINIMUM_TIME")
    assert passes(weigh(extended, 10.0))
    without = weigh(seeing(started(4), 10.0, interval), 10.0)
    assert not passes(without)
    assert asks_for_pairs(without)


def test_live_requests_within_the_margin_pass() -> None:
    """Enough good requests pass by themselves; the reason carries the bound and the counts are named."""
    judged = weigh(seeing(started(), 6.0, Interval(ok(200), ok(3800))), 6.0)
    assert passes(judged)
    errors = verdict(judged, "errors")
    assert errors.reason.startswith("ERRORS_WITHIN_MARGIN: at most 1.7")
    assert dict(errors.counts)["new_request_count"] == 200
    assert dict(errors.counts)["observed_share_ppm"] == 50_000
    assert errors.confidence == POLICY.confidence
    assert errors.evidence is Evidence.LIVE


def test_too_few_requests_hold_and_say_how_many_are_missing() -> None:
    """While traffic can decide within the stage's time, the stage waits for it and probes are not asked for."""
    judged = weigh(seeing(started(), 6.0, Interval(ok(100), ok(1900))), 6.0)
    assert verdict(judged, "errors").reason == (
        "EVIDENCE_INSUFFICIENT: needs about 73 more requests of the new version without an error"
    )
    assert not asks_for_pairs(judged)


def test_thin_traffic_gives_way_to_probes_without_waiting() -> None:
    """Where even error-free traffic would not bring enough requests in the stage's time, probes are asked for at once."""
    evidence = seeing(started(), 6.0, Interval(ok(0), ok(6)))
    assert asks_for_pairs(weigh(evidence, 6.0))
    assert passes(weigh(seeing(evidence, 6.5, pairs=60), 6.5))


def test_indecisive_traffic_gives_way_late() -> None:
    """After four fifths of the stage's time, requests that show the margin with 50 % only do, together with probes; others do not."""
    evidence = seeing(started(), 470.0, Interval(failing(300, server=2), failing(5700, server=28)))
    assert not asks_for_pairs(weigh(evidence, 470.0))
    assert asks_for_pairs(weigh(evidence, 481.0))
    assert passes(weigh(seeing(evidence, 490.0, pairs=60), 490.0))
    worse = seeing(started(), 470.0, Interval(failing(300, server=7), failing(5700, server=28)))
    judged = weigh(seeing(worse, 490.0, pairs=60), 490.0)
    assert not passes(judged)


def test_worse_errors_fail_and_stay_failed() -> None:
    """A new version that fails while the old one does not is rolled back, whatever comes after."""
    evidence = seeing(started(), 1.0, Interval(failing(10, server=10), ok(190)))
    judged = weigh(evidence, 1.0)
    errors = verdict(judged, "errors")
    assert errors.verdict is GateVerdict.FAIL
    assert errors.reason.startswith("ERRORS_WORSE")
    assert errors.confidence == 1 - POLICY.alpha
    assert not asks_for_pairs(judged)
    for i in range(100):
        evidence = seeing(evidence, 2.0 + i, Interval(ok(50), failing(950, server=200)))
    assert verdict(weigh(evidence, 102.0), "errors").verdict is GateVerdict.FAIL


def test_client_errors_of_the_new_version_alone_fail() -> None:
    """Callers' mistakes that only the new version refuses are found by the comparison."""
    evidence = seeing(started(), 1.0, Interval(failing(30, client=6), ok(570)))
    assert verdict(weigh(evidence, 1.0), "errors").verdict is GateVerdict.FAIL


def test_an_outage_of_both_holds() -> None:
    """When both fail alike nobody is blamed; probes are asked for, and say the same."""
    evidence = started()
    for i in range(10):
        evidence = seeing(evidence, 1.0 + i, Interval(failing(5, server=2), failing(95, server=38)))
    both = PairOutcome(new_ok=False, old_ok=False, detail="refused")
    evidence = observe(evidence, Observation(11.0, (), 0.05, 1, 0, (both,) * 20))
    judged = weigh(evidence, 11.0)
    assert errors_of(evidence).log_e > math.log(1000)
    assert asks_for_pairs(judged)
    assert verdict(judged, "errors").reason.startswith("ERRORS_WITHOUT_BLAME")
    assert verdict(judged, "probes").reason == "PROBES_BOTH_FAIL: both versions fail: refused"
    assert verdict(judged, "probes").verdict is GateVerdict.HOLD


def _recorded_then_soaking() -> RolloutEvidence:
    """Return a rollout that was healthy at 50 % and soaks at 100 % with a fifth of its requests failing."""
    evidence = started(4)
    for i in range(20):
        evidence = seeing(evidence, 1.0 + i, Interval(ok(50), ok(50)))
    evidence = enter(evidence, Window(POLICY, 7, 2, 30.0, soaking=True))
    for i in range(10):
        evidence = seeing(evidence, 31.0 + i, Interval(failing(50, server=10), RequestCounts()))
    return evidence


def test_while_soaking_errors_above_the_record_need_probes_to_blame() -> None:
    """At 100 % the record speaks, and paired probes that fail on the new version alone are the blame."""
    evidence = _recorded_then_soaking()
    judged = weigh(evidence, 41.0)
    assert asks_for_pairs(judged)
    assert verdict(judged, "errors").verdict is GateVerdict.HOLD
    alone = PairOutcome(new_ok=False, old_ok=True, detail="out of memory")
    blamed = observe(evidence, Observation(42.0, (), 1.0, 1, 0, (alone,) * 8))
    assert verdict(weigh(blamed, 42.0), "errors").verdict is GateVerdict.FAIL


def test_while_soaking_probes_that_fail_on_both_do_not_blame() -> None:
    """An outage of everything at 100 % does not take the new version back."""
    both = PairOutcome(new_ok=False, old_ok=False)
    evidence = observe(_recorded_then_soaking(), Observation(42.0, (), 1.0, 1, 0, (both,) * 50))
    assert all(v.verdict is not GateVerdict.FAIL for v in weigh(evidence, 42.0).verdicts)


def test_a_baseline_above_the_service_level_can_still_pass() -> None:
    """Versions that both fail 5 % against a service level of 1 % pass by comparison, once probes show that both work."""
    evidence = started()
    for i in range(40):
        evidence = seeing(evidence, 1.0 + i, Interval(failing(200, server=10), failing(800, server=40)))
    assert errors_of(evidence).log_e > math.log(1000)
    assert not passes(weigh(evidence, 41.0))
    assert passes(weigh(seeing(evidence, 41.0, pairs=60), 41.0))


def test_probes_do_not_outweigh_live_errors() -> None:
    """Few live requests that speak against the new version hold a stage that probes alone would pass."""
    evidence = seeing(started(), 6.0, Interval(failing(2, server=2), ok(30)), pairs=60)
    judged = weigh(evidence, 6.0)
    assert verdict(judged, "errors").reason.startswith("ERRORS_SUSPICIOUS")
    assert asks_for_pairs(judged)


def test_a_new_version_that_fails_probes_alone_fails() -> None:
    """Without traffic, probes that fail on the new version only fail it."""
    evidence = seeing(started(), 6.0)
    alone = PairOutcome(new_ok=False, old_ok=True, detail="wrong width")
    evidence = observe(evidence, Observation(8.0, (), None, 0, 0, (alone,) * 15))
    probed = verdict(weigh(evidence, 8.0), "probes")
    assert probed.verdict is GateVerdict.FAIL
    assert "wrong width" in probed.reason
    assert dict(probed.counts)["probe_failure_count"] == 15


def test_silence_at_the_new_version_fails() -> None:
    """Load reports that know the old version only, at 5 % weight, take the new one back although it shows no error."""
    evidence = started(1, POLICY, replace(LRS, reporting=True))
    for i in range(20):
        seen = Observation(0.5 * i, (("LRS", Interval(RequestCounts(), ok(25))),), 0.05, 1, 0)
        evidence = observe(evidence, seen)
    silent = verdict(weigh(evidence, 10.0), "arrivals")
    assert silent.verdict is GateVerdict.HOLD
    for i in range(20, 60):
        evidence = observe(evidence, Observation(0.5 * i, (("LRS", Interval(RequestCounts(), ok(25))),), 0.05, 1, 0))
    silent = verdict(weigh(evidence, 30.0), "arrivals")
    assert silent.verdict is GateVerdict.FAIL
    assert silent.reason.startswith("ARRIVALS_MISSING")


@pytest.mark.parametrize(
    ("weight", "subscribers", "stale", "expected"),
    [(None, 1, 0, GateVerdict.PASS), (0.05, 0, 0, GateVerdict.PASS), (0.05, 2, 1, GateVerdict.HOLD)],
)
def test_explained_silence_does_not_fail(
    weight: float | None, subscribers: int, stale: int, expected: GateVerdict
) -> None:
    """Weights that are not acknowledged, traffic around the routes and stale subscribers explain a silence."""
    evidence = started(1, POLICY, WORKER)
    for i in range(200):
        seen = Observation(0.5 * i, (("WORKER", Interval(RequestCounts(), ok(25))),), weight, subscribers, stale)
        evidence = observe(evidence, seen)
    assert verdict(weigh(evidence, 100.0), "arrivals").verdict is expected


def test_a_source_that_falls_silent_holds() -> None:
    """A source that counted and has counted nothing for 10 s, while another counts, holds the stage."""
    evidence = started(1, POLICY, WORKER, LRS)
    both = Interval(ok(20), ok(380))
    evidence = observe(evidence, Observation(1.0, (("WORKER", both), ("LRS", both)), 0.05, 1, 0))
    for i in range(2, 14):
        evidence = observe(evidence, Observation(float(i), (("LRS", both),), 0.05, 1, 0))
    judged = weigh(evidence, 13.0)
    assert verdict(judged, "errors").reason.startswith("SOURCE_STALE: WORKER has counted nothing for 12 s")
    assert not passes(judged)


def test_a_source_that_sees_little_is_not_waited_for() -> None:
    """Where few clients send load reports, the workers' counts decide alone."""
    evidence = started(1, POLICY, WORKER, LRS)
    seen = Observation(6.0, (("WORKER", Interval(ok(200), ok(3800))), ("LRS", Interval(ok(2), ok(38)))), 0.05, 1, 0)
    assert passes(weigh(observe(evidence, seen), 6.0))


def test_a_window_starts_its_counts_again_and_keeps_the_e_process() -> None:
    """A voided window begins with no requests, but what spoke against the new version is remembered."""
    evidence = seeing(started(), 6.0, Interval(failing(60, server=2), ok(1140)))
    before = errors_of(evidence).comparison_log_e
    entered = enter(evidence, Window(POLICY, 1, 2, 10.0))
    assert dict(verdict(weigh(entered, 20.0), "errors").counts)["new_request_count"] == 0
    assert errors_of(entered).comparison_log_e == pytest.approx(before, abs=0.1)
    assert before > math.log(5)


def test_at_high_weight_the_record_is_the_reference() -> None:
    """At 100 % a baseline of 5 % callers' mistakes passes against what the old version showed at 50 %."""
    evidence = started(4)
    for i in range(10):
        evidence = seeing(evidence, 1.0 + i, Interval(failing(400, client=20), failing(400, client=20)), pairs=6)
    evidence = enter(evidence, Window(POLICY, 7, 2, 20.0))
    for i in range(10):
        evidence = seeing(evidence, 21.0 + i, Interval(failing(400, client=20), RequestCounts()))
    assert passes(weigh(evidence, 31.0))


def test_without_a_record_at_high_weight_server_errors_and_probes_decide() -> None:
    """After a restart at 100 % nothing is known of the old version: callers' mistakes are left out and probes are asked for."""
    evidence = started(7)
    for i in range(10):
        evidence = seeing(evidence, 1.0 + i, Interval(failing(100, client=5), RequestCounts()))
    judged = weigh(evidence, 11.0)
    assert asks_for_pairs(judged)
    assert verdict(judged, "errors").reason.startswith(
        "EVIDENCE_INSUFFICIENT: the old version's error rate is not known"
    )
    assert passes(weigh(seeing(evidence, 12.0, pairs=60), 12.0))
