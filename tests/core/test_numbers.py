"""Numbers from outside: whatever comes, what is kept is in range."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from echoplaned.core.numbers import MAX_COUNT, clamp_count, clamp_real


@given(st.integers())
def test_a_count_is_in_range(value: int) -> None:
    """What is in range stays as it is; the rest goes to the nearest end."""
    clamped = clamp_count(value)
    assert 0 <= clamped <= MAX_COUNT
    assert clamped == value or not 0 <= value <= MAX_COUNT


@given(st.floats() | st.integers() | st.just(10**400))
def test_a_real_is_in_range(value: float) -> None:
    """NaN, infinities, denormals and whole numbers beyond a double's range end within the bounds."""
    clamped = clamp_real(value, 0.0, 1e9)
    assert 0.0 <= clamped <= 1e9
    assert math.isfinite(clamped)


def test_a_thousand_counts_fit_into_64_bits() -> None:
    """The bound leaves room for adding up what many peers say."""
    assert 1000 * MAX_COUNT < 2**63
    assert float(MAX_COUNT) == MAX_COUNT
