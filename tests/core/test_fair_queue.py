"""A queue that takes turns between peers."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echoplaned.core.fair_queue import FairQueue


def test_peers_take_turns() -> None:
    """Beside one with a thousand items, another's first comes second, and its order is kept."""
    queue: FairQueue[str] = FairQueue()
    for number in range(1000):
        queue.put("greedy", f"g{number}")
    for number in range(3):
        queue.put("small", f"s{number}")
    assert [queue.pop() for _ in range(6)] == ["g0", "s0", "g1", "s1", "g2", "s2"]
    assert (len(queue), queue.held("greedy"), queue.held("small")) == (997, 997, 0)


def test_what_nobody_waits_for_is_dropped() -> None:
    """Items that are not wanted any more leave, and with the last one their peer."""
    queue: FairQueue[int] = FairQueue()
    for number in range(10):
        queue.put("a" if number % 2 else "b", number)
    queue.drop(lambda number: number % 2 == 1)
    assert (len(queue), queue.held("a")) == (5, 0)
    assert [queue.pop() for _ in range(5)] == [0, 2, 4, 6, 8]
    with pytest.raises(IndexError):
        queue.pop()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers()), max_size=50))
def test_nothing_is_lost_and_nobody_is_skipped(puts: list[tuple[str, int]]) -> None:
    """All items come out, each peer's in order; between two turns of one peer every other waiting one has a turn."""
    queue: FairQueue[tuple[str, int]] = FairQueue()
    for at, (peer, _) in enumerate(puts):
        queue.put(peer, (peer, at))
    taken = [queue.pop() for _ in range(len(puts))]
    assert sorted(taken) == sorted((peer, at) for at, (peer, _) in enumerate(puts))
    for peer in "abc":
        own = [at for each, at in taken if each == peer]
        assert own == sorted(own)
    left = Counter(peer for peer, _ in taken)
    for at, (peer, _) in enumerate(taken[:-1]):
        left[peer] -= 1
        if taken[at + 1][0] == peer:
            assert all(count == 0 for each, count in left.items() if each != peer)
