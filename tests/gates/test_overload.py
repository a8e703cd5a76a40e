"""Overload is no verdict: a burst holds a stage while it lasts and fails no version, whatever share of the requests it refuses."""

from __future__ import annotations

from echoplaned.core.rollout_state import GateVerdict
from echoplaned.core.spec import RolloutPolicy
from echoplaned.gates.evaluation import RolloutEvidence, enter, observe, weigh
from echoplaned.gates.gate import Observation, Source
from echoplaned.gates.window import Window
from echoplaned.ports.request_counts import Interval, RequestCounts
from tests.gates.judging import begin, passes, verdict

POLICY = RolloutPolicy(probe_count=20)
WORKER = Source("WORKER", tells_client_errors=True, routed=False, reporting=True)


def counts(ok: int, overloads: int = 0, errors: int = 0) -> RequestCounts:
    """Return what the workers of a version counted."""
    return RequestCounts(ok, 0, errors, ok + overloads + errors, overloads=overloads)


def follow(
    evidence: RolloutEvidence, begin_s: float, seconds: int, new: RequestCounts, old: RequestCounts
) -> RolloutEvidence:
    """Observe so many seconds that are all alike."""
    for i in range(1, seconds + 1):
        evidence = observe(evidence, Observation(begin_s + i, (("WORKER", Interval(new, old)),), 0.05, 1))
    return evidence


def test_a_burst_at_the_new_version_holds_and_is_over() -> None:
    """Five seconds in which it refuses nine of ten requests, with far more of them than the old one: held, named, and passed later."""
    evidence = begin(Window(POLICY, 1, 1, 0.0), (WORKER,))
    evidence = follow(evidence, 0.0, 6, counts(20), counts(380))
    evidence = follow(evidence, 6.0, 5, counts(100, overloads=900), counts(380))
    held = verdict(weigh(evidence, 11.0), "errors")
    assert held.verdict is GateVerdict.HOLD
    assert held.reason.startswith("OVERLOADED: the new version has more requests than it can take")
    assert dict(held.counts)["new_overload_count"] == 4500
    assert dict(held.counts)["new_server_error_count"] == 0
    evidence = follow(evidence, 11.0, 10, counts(20), counts(380))
    assert passes(weigh(evidence, 21.0))


def test_a_burst_on_both_versions_is_alike() -> None:
    """Where the old version is overloaded as well, nothing speaks against the new one when it is over."""
    evidence = begin(Window(POLICY, 1, 1, 0.0), (WORKER,))
    evidence = follow(evidence, 0.0, 30, counts(20, overloads=5), counts(380, overloads=50))
    assert verdict(weigh(evidence, 30.0), "errors").reason.startswith("OVERLOADED: the new version has more")
    evidence = follow(evidence, 30.0, 10, counts(20), counts(380))
    assert passes(weigh(evidence, 40.0))


def test_a_version_that_takes_less_than_the_old_one_waits() -> None:
    """Overloaded again and again with a twentieth of the old version's requests, it is held for the window, and not failed."""
    evidence = begin(Window(POLICY, 1, 1, 0.0), (WORKER,))
    evidence = follow(evidence, 0.0, 10, counts(10, overloads=10), counts(380))
    evidence = follow(evidence, 10.0, 30, counts(20), counts(380))
    held = verdict(weigh(evidence, 40.0), "errors")
    assert held.verdict is GateVerdict.HOLD
    assert held.reason == (
        "OVERLOADED: the new version was overloaded in 5 spans of 2 s in which the old one took at least as many requests"
    )
    later = follow(enter(evidence, Window(POLICY, 1, 2, 40.0)), 40.0, 10, counts(20), counts(380))
    assert passes(weigh(later, 50.0))


def test_errors_beside_overloads_still_fail() -> None:
    """A dead version is found as fast while it is overloaded."""
    evidence = begin(Window(POLICY, 1, 1, 0.0), (WORKER,))
    evidence = follow(evidence, 0.0, 8, counts(0, overloads=10, errors=1), counts(19))
    assert verdict(weigh(evidence, 8.0), "errors").verdict is GateVerdict.FAIL
