"""Loads that ended, by outcome, since the daemon started."""

from __future__ import annotations

from dataclasses import dataclass, replace

from echoplaned.core.failure import Reason
from echoplaned.core.state import Operation, OperationKind, State


@dataclass(frozen=True, slots=True)
class LoadOutcomeCounts:
    """Loads that ended since the daemon started, each counted once.

    Attributes:
        succeeded: loads that ended with a ready version.
        failed: loads that failed for any other reason than the two below.
        refused: loads and updates that found no room in memory.
        cancelled: loads that were cancelled.
        cached: loads whose version was ready when they came.
    """

    succeeded: int = 0
    failed: int = 0
    refused: int = 0
    cancelled: int = 0
    cached: int = 0


class LoadOutcomeCounter:
    """Counts loads off the state's operations.

    The state keeps the latest 1,000 finished operations, and far fewer may be open at once; a look at each new operation
    therefore sees every one before it is forgotten. No time tells which are new: the clock may have been put back since they ended.

    Args:
        start: the state that the daemon starts with; what has ended in it is not counted.
    """

    def __init__(self, start: State) -> None:
        self._counted = frozenset(_ended_loads(start))
        self._totals = LoadOutcomeCounts()

    def count_refused(self) -> None:
        """Count a load or an update that did not fit."""
        self._totals = replace(self._totals, refused=self._totals.refused + 1)

    def observe(self, state: State) -> LoadOutcomeCounts:
        """Count what ended since the last look; return the totals."""
        ended = _ended_loads(state)
        for operation_id, operation in ended.items():
            if operation_id not in self._counted:
                self._count(operation)
        self._counted = frozenset(ended)
        return self._totals

    def _count(self, operation: Operation) -> None:
        totals = self._totals
        if operation.failure is None and operation.end_time_s == operation.create_time_s:
            totals = replace(totals, cached=totals.cached + 1)
        elif operation.failure is None:
            totals = replace(totals, succeeded=totals.succeeded + 1)
        elif operation.failure.reason is Reason.CANCELLED:
            totals = replace(totals, cancelled=totals.cancelled + 1)
        elif operation.failure.reason is Reason.MEMORY_INSUFFICIENT:
            totals = replace(totals, refused=totals.refused + 1)
        else:
            totals = replace(totals, failed=totals.failed + 1)
        self._totals = totals


def _ended_loads(state: State) -> dict[str, Operation]:
    loads = (o for o in state.operations.values() if o.kind is OperationKind.LOAD)
    return {o.operation_id: o for o in loads if o.end_time_s is not None}
