"""Which connection has which open operation."""

from __future__ import annotations

from dataclasses import replace

import pytest

from echoplaned.core.errors import LimitExceededError
from echoplaned.core.state import Operation, OperationKind, State
from echoplaned.rpc.shares import OperationShares


def with_open(state: State, *ids: str) -> State:
    """Return the state with these operations open and no others."""
    return replace(state, operations={name: Operation(name, OperationKind.LOAD, "m") for name in ids})


def test_a_connection_has_half() -> None:
    """One connection gets half of the operations; another one still gets its own; what has ended is given back."""
    shares, state = OperationShares(40), State()
    ids = [f"o{number}" for number in range(20)]
    for name in ids:
        with shares.reserve(state, name, "greedy"):
            state = with_open(state, *state.operations, name)
    with pytest.raises(LimitExceededError, match="20 operations"), shares.reserve(state, "more", "greedy"):
        raise AssertionError("was let in")
    with shares.reserve(state, "small", "small"):
        pass
    state = with_open(state, *ids[:5])
    with shares.reserve(state, "again", "greedy"):
        pass
    assert shares._budget.used == 6


def test_calls_that_are_taken_in_count() -> None:
    """Those whose operation is not in the state yet count too, so that many at once do not slip through together."""
    shares, state = OperationShares(1), State()
    with (
        shares.reserve(state, "first", "a"),
        pytest.raises(LimitExceededError),
        shares.reserve(state, "second", "b"),
    ):
        raise AssertionError("was let in")
    with shares.reserve(state, "third", "b"):
        pass


def test_what_an_earlier_daemon_left_open_counts() -> None:
    """Nobody's operations are within the total, and in no connection's share."""
    shares, state = OperationShares(4), with_open(State(), "x", "y", "z")
    with shares.reserve(state, "o", "a"):
        pass
    state = with_open(state, "x", "y", "z", "o")
    with pytest.raises(LimitExceededError, match="4 of 4"), shares.reserve(state, "p", "b"):
        raise AssertionError("was let in")
