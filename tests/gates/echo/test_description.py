"""The description of a live change: what it says of equal and of changed versions, and when it is due."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from echoplaned.core.facts import Task
from echoplaned.core.spec import BehaviourChange, EchoPolicy
from echoplaned.gates.echo import description, evidence, live, verdict
from echoplaned.gates.echo.evidence import BehaviourObservation
from echoplaned.gates.echo.features import Listener
from echoplaned.gates.echo.live import LiveEvidence
from echoplaned.gates.echo.matching import TracedRequest
from echoplaned.gates.echo.subject import EchoSubject
from tests.gates.echo.echo_world import learnt, sequence


def heard(shift: float, pairs: int = 60) -> LiveEvidence:
    """Return live evidence of so many pairs."""
    rng = np.random.default_rng(11)
    known = learnt(LiveEvidence(), tuple(sequence(rng) for _ in range(live.CALIBRATION_WANTED)))
    return live.observe(
        known,
        tuple(TracedRequest(bool(n % 2), "a", sequence(rng, shift=shift if n % 2 else 0.0)) for n in range(2 * pairs)),
    )


def test_a_changed_version_is_far_and_an_equal_one_is_not() -> None:
    """All listeners are told of, the baselines among them; a shift gives a large discrepancy that chance does not explain."""
    worse, same = (description.describe(heard(shift).newest) for shift in (-1.0, 0.0))
    assert [one.listener for one in worse] == list(Listener)
    assert {one.pairs for one in worse} == {60}
    assert all(one.p_value < 0.01 and one.statistic > 0.05 for one in worse)
    assert all(one.p_value > 0.01 and abs(one.statistic) < 0.05 for one in same)


def test_only_the_newest_pairs_are_kept() -> None:
    """Memory and time are bounded: the oldest pairs are not described any more."""
    assert len(heard(0.0, 300).newest) == description.MAX_PAIRS


def test_it_is_due_from_a_few_pairs_on_and_then_ever_more_rarely() -> None:
    """A rollout of n pairs is described about log n times."""
    due = [(16, 16, 0), (20, 20, 16), (1000, 256, 800)]
    not_due = [(15, 15, 0), (19, 19, 16), (1000, 256, 900), (1000, 15, 0)]
    assert all(description.is_due(*case) for case in due)
    assert not any(description.is_due(*case) for case in not_due)


def test_the_report_carries_it_beside_the_bets() -> None:
    """A verdict tells each listener's discrepancy and its p-value; the decision does not change by it."""
    subject = EchoSubject(EchoPolicy(), BehaviourChange.EQUIVALENT, Task.GENERATION, 0.95)
    known = replace(evidence.begin(subject), live=heard(0.0))
    before = verdict.decide(known)
    after = verdict.decide(
        evidence.observe(known, BehaviourObservation(described=description.describe(known.live.newest)))
    )
    assert before.behaviour is not None
    assert after.behaviour is not None
    assert (before.behaviour.described_pairs, before.behaviour.listeners[0].mmd_squared) == (0, None)
    assert after.behaviour.described_pairs == 60
    assert all(one.mmd_squared is not None and one.mmd_p_value is not None for one in after.behaviour.listeners)
    assert (before.verdict, before.reason) == (after.verdict, after.reason)
