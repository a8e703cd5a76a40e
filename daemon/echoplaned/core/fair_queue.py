"""A queue that takes turns between peers: who puts a thousand things in waits for itself, not before the others."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class FairQueue(Generic[Item]):
    """First in, first out within a peer; the peers take turns, one item each.

    Invariant: a peer is known while something of it waits, so memory comes back with the last of it.
    """

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, deque[Item]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        """Return how many wait."""
        return self._count

    def held(self, peer: str) -> int:
        """Return how many of a peer wait."""
        return len(self._waiting.get(peer, ()))

    def put(self, peer: str, item: Item) -> None:
        """Put an item behind those of its peer; a peer that has none waiting has its turn after all that have."""
        self._waiting.setdefault(peer, deque()).append(item)
        self._count += 1

    def pop(self) -> Item:
        """Take the next item; its peer's next turn comes after those of all others.

        Raises:
            IndexError: nothing waits.
        """
        if not self._waiting:
            raise IndexError("nothing waits")
        peer, items = next(iter(self._waiting.items()))
        item = items.popleft()
        self._count -= 1
        if items:
            self._waiting.move_to_end(peer)
        else:
            del self._waiting[peer]
        return item

    def drop(self, unwanted: Callable[[Item], bool]) -> None:
        """Leave out what nobody waits for any more."""
        for peer in list(self._waiting):
            kept = deque(item for item in self._waiting[peer] if not unwanted(item))
            self._count -= len(self._waiting[peer]) - len(kept)
            if kept:
                self._waiting[peer] = kept
            else:
                del self._waiting[peer]
