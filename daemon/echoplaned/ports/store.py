"""Where the state outlives the process."""

from __future__ import annotations

from typing import Protocol

from echoplaned.core.effects import Announce
from echoplaned.core.state import State


class Store(Protocol):
    """Where the state outlives the process.

    Methods block; the loop calls them in one worker thread of its own.
    """

    def load(self) -> State:
        """Return the stored state; an empty one from an empty store.

        Raises:
            StoreUnavailableError: the store cannot be read.
        """
        ...

    def commit(self, before: State, after: State, announces: tuple[Announce, ...]) -> None:
        """Write what differs between two states, in one transaction.

        Only if the store is still at ``before.store_epoch``.

        Raises:
            StoreUnavailableError: nothing was written.
        """
        ...

    def check(self) -> None:
        """Check whether a commit could be written, without writing.

        Raises:
            StoreUnavailableError: it could not: the disk or its files have gone, say.
        """
        ...
