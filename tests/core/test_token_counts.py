"""Counts of tokens: added up, and what came since."""

from __future__ import annotations

from echoplaned.core.numbers import MAX_COUNT
from echoplaned.core.token_counts import TokenCounts


def test_what_came_since_is_never_negative() -> None:
    """A count that fell adds nothing, the other one of the same engine does all the same."""
    before = TokenCounts(100, 10)
    assert TokenCounts(130, 15).since(before) == TokenCounts(30, 5)
    assert TokenCounts(90, 15).since(before) == TokenCounts(0, 5)
    assert TokenCounts(90, 15).at_least(before) == TokenCounts(100, 15)


def test_sums_are_bounded() -> None:
    """No sum passes what a count may be."""
    assert TokenCounts(MAX_COUNT, 1) + TokenCounts(5, 2) == TokenCounts(MAX_COUNT, 3)
