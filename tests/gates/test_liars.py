"""Clients that report what never happened, in whole rollouts in virtual time: they decide none, and true faults are found beside them.

``ECHOPLANE_LIAR_ROLLOUTS``: rollouts of each case; 200 is the promise of ``make soak``.
"""

from __future__ import annotations

import os
from random import Random

import pytest

from echoplaned.core.spec import RolloutPolicy
from echoplaned.gates.simulation import FalseReporters, SimulatedTraffic, SimulationEnding, SimulationOutcome, simulate

POLICY = RolloutPolicy()
ROLLOUTS = int(os.environ.get("ECHOPLANE_LIAR_ROLLOUTS", "4"))
pytestmark = pytest.mark.timeout(max(120, 4 * ROLLOUTS))
NODES = (1, 2, 10)


def runs(traffic: SimulatedTraffic) -> list[SimulationOutcome]:
    """Return seeded rollouts, each to the end of its first stage."""
    return [simulate(POLICY, traffic, Random(seed), last_stage=1) for seed in range(ROLLOUTS)]


def quantile(values: list[int], part: float) -> int:
    """Return the value that a part of all values does not exceed."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


@pytest.mark.long
@pytest.mark.parametrize("nodes", NODES)
@pytest.mark.parametrize("rates", [(5.0, 0.0, 0.0), (0.0, 0.0, 60.0)], ids=["errors", "silence"])
def test_liars_roll_nothing_back(rates: tuple[float, float, float], nodes: int) -> None:
    """Made-up errors, and made-up requests that never reach the new version, by any number of ids: a good version passes its stage."""
    ended = runs(SimulatedTraffic(20.0, 0.005, 0.005, false_reporters=FalseReporters(nodes, *rates)))
    assert {outcome.ending for outcome in ended} == {SimulationEnding.PROMOTED}
    assert all(outcome.left_out for outcome in ended)


@pytest.mark.parametrize("nodes", NODES)
@pytest.mark.parametrize(("error", "requests"), [(1.0, 5), (0.2, 50)], ids=["dead", "a fifth"])
def test_made_up_successes_hide_no_fault(error: float, requests: int, nodes: int) -> None:
    """Beside 100,000 made-up successes a second a bad version is rolled back as soon as without them."""
    ended = runs(SimulatedTraffic(20.0, error, 0.005, false_reporters=FalseReporters(nodes, new_ok_per_s=1e5)))
    assert {outcome.ending for outcome in ended} == {SimulationEnding.FAILED}
    assert quantile([outcome.new_requests for outcome in ended], 0.95) <= requests


def test_a_liar_beside_clients_that_report_nothing() -> None:
    """Where nobody else calls, made-up reports are all that there is: probes decide, and the version passes."""
    ended = runs(SimulatedTraffic(0.0, false_reporters=FalseReporters(1, new_errors_per_s=5.0)))
    assert {(outcome.ending, outcome.probe_stages) for outcome in ended} == {(SimulationEnding.PROMOTED, 1)}
