"""The promises of reliability as seeded short forms of ``benchmarks/gates``: whole rollouts in virtual time."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from echoplaned.core.spec import RolloutPolicy
from echoplaned.gates.simulation import SimulatedTraffic, SimulationEnding, SimulationOutcome, simulate

POLICY = RolloutPolicy()
DEMO = RolloutPolicy(
    name="demo", stage_min_s=4.0, stage_max_s=180.0, soak_s=5.0, max_error_increase=0.05, probe_count=30
)


def runs(
    policy: RolloutPolicy, traffic: SimulatedTraffic, count: int, *, last_stage: int | None = None
) -> list[SimulationOutcome]:
    """Return seeded rollouts."""
    return [simulate(policy, traffic, Random(seed), last_stage=last_stage) for seed in range(count)]


def quantile(values: list[float], part: float) -> float:
    """Return the value that a part of all values does not exceed."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


@pytest.mark.long
@pytest.mark.parametrize(
    ("error", "requests", "count"),
    [(1.0, 5, 300), (0.2, 50, 300), (0.05, 350, 40)],
)
def test_a_bad_version_is_found_at_five_percent(error: float, requests: int, count: int) -> None:
    """At 5 % and 20 requests/s a failing version is rolled back within the promised number of its own requests (95 % of runs)."""
    traffic = SimulatedTraffic(20.0, new_error=error, old_error=0.005)
    ended = runs(POLICY, traffic, count, last_stage=1)
    assert {outcome.ending for outcome in ended} == {SimulationEnding.FAILED}
    assert quantile([outcome.new_requests for outcome in ended], 0.95) <= requests


@pytest.mark.long
@pytest.mark.parametrize(("rate_per_s", "count"), [(0.1, 60), (100.0, 12)])
def test_an_equal_version_is_promoted(rate_per_s: float, count: int) -> None:
    """A new version that is no worse is never rolled back, with thin and with much traffic."""
    ended = runs(POLICY, SimulatedTraffic(rate_per_s, new_error=0.005, old_error=0.005), count)
    assert {outcome.ending for outcome in ended} == {SimulationEnding.PROMOTED}


def test_without_traffic_probes_promote_in_less_than_two_minutes() -> None:
    """A model without traffic goes through all seven stages by probes, 62 s of judging."""
    outcome = simulate(POLICY, SimulatedTraffic(0.0), Random(1))
    assert (outcome.ending, outcome.probe_stages) == (SimulationEnding.PROMOTED, 7)
    assert outcome.time_s < 90.0


@pytest.mark.parametrize(("shortest_s", "longest_s"), [(60.0, 90.0), (60.0, 60.0), (20.0, 1.0)])
def test_no_stage_ends_before_it_may_pass(shortest_s: float, longest_s: float) -> None:
    """A maximum at the minimum, below twice of it where a stage asks for that, or below a default, rolls no good version back."""
    policy = replace(POLICY, stages_percent=(50, 100), stage_min_s=shortest_s, stage_max_s=longest_s)
    outcome = simulate(policy, SimulatedTraffic(20.0, new_error=0.0, old_error=0.0), Random(1))
    assert outcome.ending is SimulationEnding.PROMOTED
    assert outcome.time_s == pytest.approx(3.0 * shortest_s, abs=1.0)


def test_without_data_nothing_is_promoted() -> None:
    """Without traffic and with probes that cannot pass (both fail, or none can be made), no stage is ever left upwards."""
    policy = replace(POLICY, stage_max_s=60.0)
    for seed in range(20):
        both_fail = SimulatedTraffic(0.0, probes_fail_new=1.0, probes_fail_old=1.0)
        assert simulate(policy, both_fail, Random(seed)).ending is SimulationEnding.EXPIRED
    assert simulate(replace(policy, probe_count=10_000), SimulatedTraffic(0.0), Random(1)).stage == 1


def test_a_version_that_nobody_reaches_is_rolled_back() -> None:
    """A version that refuses connections shows no error; its silence fails it in the first stage."""
    for seed in range(10):
        outcome = simulate(POLICY, SimulatedTraffic(50.0, reachable=False), Random(seed))
        assert (outcome.ending, outcome.stage) == (SimulationEnding.FAILED, 1)
        assert outcome.failed is not None
        assert outcome.failed.gate == "arrivals"
        assert outcome.time_s < 20.0


def test_a_new_version_that_alone_fails_probes_is_rolled_back_without_traffic() -> None:
    """Without traffic, a version that fails a third of its probes is rolled back in the first stage."""
    for seed in range(10):
        outcome = simulate(POLICY, SimulatedTraffic(0.0, probes_fail_new=0.33), Random(seed))
        assert (outcome.ending, outcome.stage) == (SimulationEnding.FAILED, 1)


@pytest.mark.long
@pytest.mark.parametrize("rate_per_s", [20.0, 50.0])
def test_the_demo_policy_decides_in_its_time(rate_per_s: float) -> None:
    """At the demo's rates a good version passes all stages and one that refuses a tenth of its requests ends in the first."""
    good = runs(DEMO, SimulatedTraffic(rate_per_s), 8)
    assert {outcome.ending for outcome in good} == {SimulationEnding.PROMOTED}
    bad = runs(DEMO, SimulatedTraffic(rate_per_s, new_error=0.1, client_errors=True, probes_fail_new=0.0), 60)
    assert {(outcome.ending, outcome.stage) for outcome in bad} == {(SimulationEnding.FAILED, 1)}
    # 150 s at 20 requests/s, of which the first stage, with one request/s for the new version, takes half.
    assert quantile([outcome.time_s for outcome in good], 0.95) < 150.0 * 20.0 / rate_per_s + 40.0
