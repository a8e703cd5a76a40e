"""The end of every step: what is forgotten, and what is not."""

from __future__ import annotations

from dataclasses import replace

from echoplaned.core.commands import CancelOperation, LoadVersion, Request
from echoplaned.core.events import Recovered, Tick
from echoplaned.core.reconcile import FINISHED_OPERATIONS_RETAINED
from echoplaned.core.state import Operation, OperationKind
from echoplaned.core.step import step
from echoplaned.testing import builders

LAST_YEAR_S = 1_700_000_000.0


def test_operations_from_before_the_clock_was_put_back_are_the_oldest() -> None:
    """They ended after now by their times; what ended since is kept all the same."""
    ended = [
        Operation(f"old{number}", OperationKind.LOAD, "gone", done=True, end_time_s=LAST_YEAR_S)
        for number in range(FINISHED_OPERATIONS_RETAINED)
    ]
    state = replace(builders.empty_state(), operations={each.operation_id: each for each in ended})
    now_s = LAST_YEAR_S - 3540.0
    state = step(state, Recovered(now_s, (), -3600.0)).state
    state = step(state, LoadVersion(Request(now_s, "new", "id", "digest"), builders.order("m", "v1"))).state
    state = step(state, CancelOperation(Request(now_s + 1.0), "new")).state
    state = step(state, Tick(now_s + 2.0)).state
    assert state.operations["new"].done
    assert len(state.operations) == FINISHED_OPERATIONS_RETAINED
