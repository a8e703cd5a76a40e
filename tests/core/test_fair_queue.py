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


def test_what_nobody_waits_for_is_removed() -> None:
    """Items that are not wanted any more leave, and with the last one their peer."""
    queue: FairQueue[int] = FairQueue()
    for number in range(10):
        queue.put("a" if number % 2 else "b", number)
    assert all(queue.remove("a", number) for number in range(1, 10, 2))
    assert (len(queue), queue.held("a")) == (5, 0)
    assert [queue.pop() for _ in range(5)] == [0, 2, 4, 6, 8]
    with pytest.raises(IndexError):
        queue.pop()


def test_a_batch_holds_something_of_everybody() -> None:
    """Of items of one kind each peer gives one after the other; what is of another kind keeps its place, and its peer its turn."""
    queue: FairQueue[str] = FairQueue()
    for item in ("x1", "x2", "x3", "x4"):
        queue.put("greedy", item)
    queue.put("small", "x5")
    queue.put("other", "y1")
    queue.put("mixed", "y2")
    queue.put("mixed", "x6")
    assert queue.pop_alike(4, lambda item: item[0]) == ["x1", "x5", "x6", "x2"]
    assert queue.pop_alike(4, lambda item: item[0]) == ["y1", "y2"]
    assert queue.pop_alike(1, lambda item: item[0]) == ["x3"]
    assert (len(queue), queue.held("greedy"), queue.held("mixed")) == (1, 1, 0)


def test_what_goes_along_costs_no_turn() -> None:
    """A peer whose later items go with the others' keeps its turn, so that its oldest waits no longer than there are peers."""
    queue: FairQueue[str] = FairQueue()
    queue.put("a", "y")
    queue.put("b", "x")
    for number in range(3):
        for peer in "abc":
            queue.put(peer, f"x{number}")
    queue.put("d", "x")
    assert queue.pop_alike(1, lambda item: item[0]) == ["y"]
    queue.put("d", "y")
    rounds = [queue.pop_alike(4, lambda item: item[0]) for _ in range(4)]
    assert ["y"] in rounds


def test_single_items_leave() -> None:
    """An item that is taken out is not given, and one that does not wait is said not to."""
    queue: FairQueue[int] = FairQueue()
    for number in range(3):
        queue.put("a", number)
    assert [queue.remove("a", 1), queue.remove("a", 1), queue.remove("b", 0)] == [True, False, False]
    assert queue.clear() == [0, 2]
    assert (len(queue), queue.held("a")) == (0, 0)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("xyz")), max_size=40), st.integers(1, 8))
def test_nothing_is_lost_in_batches(puts: list[tuple[str, str]], count: int) -> None:
    """All items come out, in batches of one kind, each peer's of a kind in order; whoever was first in turn is in the batch."""
    queue: FairQueue[tuple[str, str, int]] = FairQueue()
    for at, (peer, kind) in enumerate(puts):
        queue.put(peer, (peer, kind, at))
    taken: list[tuple[str, str, int]] = []
    while len(queue):
        batch = queue.pop_alike(count, lambda item: item[1])
        assert 0 < len(batch) <= count
        assert len({kind for _, kind, _ in batch}) == 1
        taken += batch
    assert sorted(at for _, _, at in taken) == list(range(len(puts)))
    for chosen in {(peer, kind) for peer, kind, _ in taken}:
        own = [at for peer, kind, at in taken if (peer, kind) == chosen]
        assert own == sorted(own)


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
