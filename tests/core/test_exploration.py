"""Every order of events from a serving version and an update: nothing gets stuck, nothing leaks, no invariant breaks."""

from __future__ import annotations

import pytest

from echoplaned.core.state import TERMINAL_PHASES, Phase
from echoplaned.testing.exploration import explore


@pytest.mark.timeout(900)
def test_one_instance_each() -> None:
    """With one instance a version, the whole space is explored and holds no problem."""
    found = explore(replicas=1)
    assert found.problems == ()
    assert found.states > 5_000
    assert found.phases == frozenset(Phase) - TERMINAL_PHASES


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_two_instances_each() -> None:
    """With two instances a version, the whole space is explored and holds no problem."""
    found = explore(replicas=2)
    assert found.problems == ()
    assert found.states > 100_000
