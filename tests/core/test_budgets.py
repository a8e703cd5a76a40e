"""Budgets by peer: a share each, and half of the total for those that hold little."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echoplaned.core.budgets import SMALL_SHARE, Budget, BudgetExceededError, BudgetShare


def fill(budget: Budget, peer: str) -> int:
    """Let a peer take all that it can; return how much that was."""
    with contextlib.suppress(BudgetExceededError):
        while True:
            budget.acquire(peer)
    return budget.held(peer)


def test_one_peer_gets_its_share() -> None:
    """However often it asks, a peer holds its share and no more, and is told so."""
    budget = Budget("watchers", 100, 30)
    assert fill(budget, "greedy") == 30
    with pytest.raises(BudgetExceededError, match="30 watchers"):
        budget.acquire("greedy")
    assert fill(Budget("watchers", 100), "greedy") == 50


def test_many_greedy_peers_leave_half_for_the_small_ones() -> None:
    """Where peers with a share each have taken half, every further one still gets ten, until the total is reached."""
    budget = Budget("watchers", 1000, 250)
    assert [fill(budget, f"greedy-{number}") for number in range(2)] == [250, 250]
    small = [fill(budget, f"small-{number}") for number in range(60)]
    assert small[:50] == [SMALL_SHARE] * 50
    assert budget.used == 1000
    with pytest.raises(BudgetExceededError, match="call again later"):
        budget.acquire("late")


def test_a_crowd_of_small_ones_does_not_shut_a_large_one_out() -> None:
    """Sixty that hold ten each fill their own half, and a fifth of the other one: the rest of that is for whoever wants more."""
    budget = Budget("watchers", 1000)
    for number in range(60):
        fill_up_to(budget, f"small-{number}", SMALL_SHARE)
    assert fill(budget, "large") == 400
    assert budget.used == 1000


def fill_up_to(budget: Budget, peer: str, count: int) -> None:
    """Let a peer take so much, one by one."""
    for _ in range(count):
        budget.acquire(peer)


@pytest.mark.parametrize("total", [0, 1, 2, 9])
def test_small_totals(total: int) -> None:
    """A total below ten can be held by one peer, and no more than it."""
    assert fill(Budget("x", total), "only") == total


def test_a_holding_gives_everything_back() -> None:
    """It grows and shrinks as a whole; where it may not grow it stays as it was; closed, nothing of the peer is left."""
    budget = Budget("names", 100, 40)
    holding = BudgetShare(budget, "p")
    holding.resize(40)
    with pytest.raises(BudgetExceededError):
        holding.resize(41)
    assert budget.held("p") == 40
    holding.resize(5)
    assert budget.used == 5
    holding.close()
    assert (budget.used, budget.held("p"), budget._held) == (0, 0, {})


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 60), st.booleans()), max_size=60))
def test_books_balance(moves: list[tuple[str, int, bool]]) -> None:
    """Whatever is taken and given, nobody is above its share or ten, all together are within the total, and the sum is right."""
    budget = Budget("x", 200, 60)
    for peer, count, gives in moves:
        if gives:
            budget.release(peer, min(count, budget.held(peer)))
        else:
            with contextlib.suppress(BudgetExceededError):
                budget.acquire(peer, count)
        assert budget.used == sum(map(budget.held, "abcd")) <= 200
        assert all(budget.held(each) <= 60 for each in "abcd")
        assert budget._large == sum(held for held in map(budget.held, "abcd") if held > SMALL_SHARE)
