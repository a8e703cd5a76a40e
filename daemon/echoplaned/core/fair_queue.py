"""A queue that takes turns between peers.

Who puts a thousand things in waits for itself, not before the others.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
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
        """Put an item behind those of its peer.

        A peer that has none waiting has its turn after all that have.
        """
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

    def pop_alike(self, count: int, kind: Callable[[Item], Hashable]) -> list[Item]:
        """Take the next item, and others of its kind with it.

        They are taken by turns, as many as asked for at most; the rest keep their places. A peer has had its turn when its oldest item is
        among them. One that gave later items only keeps its turn, else its oldest could wait for ever while what came after it goes with
        the others.

        Raises:
            IndexError: nothing waits.
        """
        if not self._waiting:
            raise IndexError("nothing waits")
        wanted = kind(next(iter(self._waiting.values()))[0])
        alike = {peer: _Alike(items, wanted, kind) for peer, items in self._waiting.items()}
        taken: list[Item] = []
        giving = list(alike)
        while giving and len(taken) < count:
            # Whoever has nothing left of this kind is not asked in the next pass.
            giving = [peer for peer in giving if len(taken) < count and alike[peer].give(taken)]
        for peer, items in alike.items():
            self._settle(peer, items.rest(), had_turn=items.gave_oldest)
        self._count -= len(taken)
        return taken

    def remove(self, peer: str, item: Item) -> bool:
        """Leave out one item of a peer; say whether it waited."""
        items = self._waiting.get(peer)
        if items is None or item not in items:
            return False
        items.remove(item)
        self._settle(peer, items, had_turn=False)
        self._count -= 1
        return True

    def clear(self) -> list[Item]:
        """Take everything, peer after peer."""
        everything = [item for items in self._waiting.values() for item in items]
        self._waiting.clear()
        self._count = 0
        return everything

    def _settle(self, peer: str, rest: deque[Item], *, had_turn: bool) -> None:
        """Keep what is left of a peer, or forget the peer."""
        if not rest:
            del self._waiting[peer]
            return
        self._waiting[peer] = rest
        if had_turn:
            self._waiting.move_to_end(peer)


class _Alike(Generic[Item]):
    """The items of one peer while those of one kind are taken out of them.

    Oldest first; it looks no further than it has to.
    """

    def __init__(self, items: deque[Item], wanted: Hashable, kind: Callable[[Item], Hashable]) -> None:
        self._items = items
        self._wanted = wanted
        self._kind = kind
        self._passed: deque[Item] = deque()
        self.gave_oldest = False

    def give(self, taken: list[Item]) -> bool:
        """Add the next one to those that are taken; False: there is none."""
        while self._items:
            item = self._items.popleft()
            if self._kind(item) == self._wanted:
                self.gave_oldest = self.gave_oldest or not self._passed
                taken.append(item)
                return True
            self._passed.append(item)
        return False

    def rest(self) -> deque[Item]:
        """Return what was not taken, in its order."""
        self._items.extendleft(reversed(self._passed))
        return self._items
