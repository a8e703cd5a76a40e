"""Every order of events from a serving version and an update: nothing gets stuck, nothing leaks, no invariant breaks."""

from __future__ import annotations

import time

import pytest

from echoplaned.core.rollout_state import TERMINAL_PHASES, Phase
from echoplaned.testing.exploration import Found, explore


def explored(replicas: int, capsys: pytest.CaptureFixture[str]) -> Found:
    """Explore, and print how much there was."""
    began_s = time.process_time()
    found = explore(replicas)
    took_s = time.process_time() - began_s
    with capsys.disabled():
        print(f"\n{replicas} a version: {found.states} states, {found.transitions} transitions, {took_s:.0f} s")  # noqa: T201 - a result
    return found


@pytest.mark.long
@pytest.mark.timeout(900)
def test_one_instance_each(capsys: pytest.CaptureFixture[str]) -> None:
    """With one instance a version, the whole space is explored and holds no problem."""
    found = explored(1, capsys)
    assert found.problems == ()
    assert found.states > 10_000
    assert found.phases == frozenset(Phase) - TERMINAL_PHASES


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_two_instances_each(capsys: pytest.CaptureFixture[str]) -> None:
    """With two instances a version, the whole space is explored and holds no problem."""
    found = explored(2, capsys)
    assert found.problems == ()
    assert found.states > 100_000
