"""Which connection asked for which open operation.

So one connection does not take all that there may be.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from echoplaned.core.budgets import Budget, BudgetExceededError
from echoplaned.core.errors import LimitExceededError
from echoplaned.core.state import State

UNKNOWN = ""
"""Whoever asked an earlier daemon for an operation that is still open."""


class OperationShares:
    """Counts operations by connection: those that are open or about to be.

    What is open is in the state; whose it is, is remembered here and nowhere else: an operation does not need its caller to go on.

    Args:
        limit: open operations at most.
    """

    def __init__(self, limit: int) -> None:
        self._budget = Budget("operations", limit)
        self._owners: dict[str, str] = {}
        self._admitted: set[str] = set()

    @contextmanager
    def reserve(self, state: State, operation_id: str, peer: str) -> Iterator[None]:
        """Count an operation while its call is taken in.

        From then on it counts while it is open.

        Raises:
            LimitExceededError: the connection, or all of them together, have as many open as are allowed.
        """
        self._settle(state)
        try:
            self._budget.acquire(peer)
        except BudgetExceededError as refused:
            raise LimitExceededError(self._budget.what, str(refused), 5.0) from None
        self._owners[operation_id] = peer
        self._admitted.add(operation_id)
        try:
            yield
        finally:
            # From here on it counts for as long as the state has it open; one that was refused is settled at the next look.
            self._admitted.discard(operation_id)

    def _settle(self, state: State) -> None:
        """Give back what has ended, and count what an earlier daemon left open."""
        open_now = {each.operation_id for each in state.operations.values() if not each.done}
        for gone in self._owners.keys() - open_now - self._admitted:
            self._budget.release(self._owners.pop(gone))
        for unknown in open_now - self._owners.keys():
            self._owners[unknown] = UNKNOWN
            self._budget.adjust(UNKNOWN)
