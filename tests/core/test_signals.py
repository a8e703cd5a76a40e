"""The list of signals is whole: each has an origin, and each is used by its table."""

from __future__ import annotations

from echoplaned.core.rollout_state import TERMINAL_PHASES, Phase
from echoplaned.core.signals import INSTANCE_ORIGINS, ROLLOUT_ORIGINS
from echoplaned.core.tables import (
    INSTANCE_TABLE,
    ROLLOUT_TABLE,
    InstanceAction,
    InstanceSignal,
    RolloutAction,
    RolloutSignal,
)


def test_every_signal_has_an_origin_and_a_cell() -> None:
    """No signal is listed that leads nowhere, and none leads anywhere that is not listed."""
    assert set(INSTANCE_ORIGINS) == set(InstanceSignal) == {s for cells in INSTANCE_TABLE.values() for s in cells}
    assert set(ROLLOUT_ORIGINS) == set(RolloutSignal) == {s for cells in ROLLOUT_TABLE.values() for s in cells}


def test_outcomes_are_explicit() -> None:
    """What a stop or a clean-up ends in stands in the cell, and CLEANING has a way to each of them."""
    for instance_cells in INSTANCE_TABLE.values():
        for cell in instance_cells.values():
            stops = cell.action in {InstanceAction.STOP, InstanceAction.STOP_SOFTLY}
            assert (cell.outcome is not None) is stops
    outcomes: set[Phase] = set()
    for phase, cells in ROLLOUT_TABLE.items():
        for rollout_cell in cells.values():
            assert (rollout_cell.hold is not None) is (rollout_cell.action is RolloutAction.HOLD)
            if rollout_cell.action is RolloutAction.CLEAN_UP and phase is not Phase.CLEANING:
                assert rollout_cell.outcome in TERMINAL_PHASES
                outcomes |= {rollout_cell.outcome} if rollout_cell.outcome is not None else set()
    assert outcomes == {c.phase for c in ROLLOUT_TABLE[Phase.CLEANING].values() if c.action is RolloutAction.END}
