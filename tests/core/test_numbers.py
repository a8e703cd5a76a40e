"""Numbers from outside: whatever comes, what is kept is in range."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echoplaned.core.numbers import MAX_COUNT, clamp_count, clamp_real, read_whole


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


@given(st.integers(0, 2**64 - 1))
def test_a_whole_number_is_read(value: int) -> None:
    """What 64 bits can hold is read as it was written."""
    assert read_whole(str(value)) == value


@given(st.text())
def test_no_text_is_an_error(text: str) -> None:
    """What is no such number is none, and never an error."""
    number = read_whole(text, 65535)
    assert number is None or (0 <= number <= 65535 and number == int(text))


@pytest.mark.parametrize("text", ["", "-1", "+1", " 1", "1_0", "²", "٣", "1.0", "9" * 21, "9" * 5000, str(2**64)])
def test_what_is_no_whole_number(text: str) -> None:
    """Signs, blanks, digits of other scripts and numbers of thousands of digits are none."""
    assert read_whole(text) is None


def test_the_bound() -> None:
    """A number beyond the bound is none."""
    assert read_whole("65535", 65535) == 65535
    assert read_whole("65536", 65535) is None
