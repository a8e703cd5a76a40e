"""Limits of what one peer may hold of a resource that all peers share.

One peer may hold a share, and half of every total is for peers that hold little. A peer is a transport connection: until there are
identities, nothing that a caller writes tells one from another. Connections are cheap, so a share alone protects nobody: many peers
with a share each would take everything. The half that is kept is what a newcomer lives on.
"""

from __future__ import annotations

from typing import Final

SMALL_SHARE: Final = 10
"""Up to so many a peer may hold out of the half that is kept."""


class BudgetExceededError(Exception):
    """A peer asked for more than it may hold, or than there is."""


class Budget:
    """A total that peers share.

    Invariants: ``used`` is the sum of what each peer holds; of it, those who hold more than ``small`` hold ``_large``. What
    small holders have fills their own half first, so a crowd of them does not shut the others out before it has to.

    Args:
        what: of what, as a message names it.
        total: how much there is.
        share: how much one peer may hold; None: half of the total.
        small: up to how much a peer may hold out of the half that is kept.
    """

    def __init__(self, what: str, total: int, share: int | None = None, small: int = SMALL_SHARE) -> None:
        self.what = what
        self.total = total
        self.share = total // 2 if share is None else share
        self._small_holding = small
        self._held: dict[str, int] = {}
        self._used = 0
        self._large = 0

    @property
    def used(self) -> int:
        """What all peers hold."""
        return self._used

    def held(self, peer: str) -> int:
        """Return what a peer holds."""
        return self._held.get(peer, 0)

    def acquire(self, peer: str, count: int = 1) -> None:
        """Let a peer hold so many more of what the budget counts.

        Raises:
            BudgetExceededError: it may not; nothing was taken.
        """
        held = self.held(peer)
        after = held + count
        if after > max(self.share, self._small_holding):
            raise BudgetExceededError(
                f"this connection holds {held} {self.what}, of which one may hold {self.share}: give some back first"
            )
        small = after <= self._small_holding
        if self._used + count > self.total or (not small and self._large_after(held, after) > self._open_half):
            kept = "" if small else f", and the rest is kept for connections that hold at most {self._small_holding}"
            raise BudgetExceededError(f"{self._used} of {self.total} {self.what} are taken{kept}: call again later")
        self.adjust(peer, count)

    def adjust(self, peer: str, count: int = 1) -> None:
        """Note what a peer holds already, whether it may or not.

        Args:
            peer: who holds it.
            count: how many more; below 0: what it gives back.
        """
        held = self.held(peer)
        after = held + count
        self._used += count
        self._large += self._if_large(after) - self._if_large(held)
        if after > 0:
            self._held[peer] = after
        else:
            self._held.pop(peer, None)

    def release(self, peer: str, count: int = 1) -> None:
        """Take back what a peer held."""
        self.adjust(peer, -count)

    @property
    def _open_half(self) -> int:
        return self.total - self.total // 2

    def _large_after(self, held: int, after: int) -> int:
        """Return what the open half would hold after one peer's holding changed.

        That is all of the large holders' and, of the small ones', what is beyond their own half.
        """
        large = self._large + self._if_large(after) - self._if_large(held)
        small = self._used + after - held - large
        return large + max(0, small - self.total // 2)

    def _if_large(self, count: int) -> int:
        return count if count > self._small_holding else 0


class BudgetShare:
    """What one stream of a peer holds of a budget, given back as a whole when it ends.

    Args:
        budget: of which.
        peer: whose.
    """

    def __init__(self, budget: Budget, peer: str) -> None:
        self._budget = budget
        self._peer = peer
        self._count = 0

    def resize(self, count: int) -> None:
        """Change how much the stream holds of the budget.

        Raises:
            BudgetExceededError: it is more than the peer may hold; it holds what it held.
        """
        if count > self._count:
            self._budget.acquire(self._peer, count - self._count)
        elif count < self._count:
            self._budget.release(self._peer, self._count - count)
        self._count = count

    def close(self) -> None:
        """Give everything back."""
        self.resize(0)
