"""Reading and clamping of numbers from outside, where they enter.

What is added up or shown later is then in range without a second look.
"""

from __future__ import annotations

import math
from typing import Final

MAX_COUNT: Final = 10**15
"""A million requests a second for thirty years, or a petabyte; exact in a double, and thousands of them still add up within 64 bits."""

MAX_TIME_S: Final = 253_402_300_799
"""The end of the year 9999, which protobuf's timestamps end with."""

_MAX_DIGITS: Final = 20  # of 64 bits


def read_whole(text: str, most: int = 2**64 - 1) -> int | None:
    """Return the number that ASCII digits write; None: it is none, or too large.

    ``²`` counts as a digit for Python, and thousands of digits are an error to it.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        return None
    number = int(text)
    return number if number <= most else None


def clamp_count(value: int, most: int = MAX_COUNT) -> int:
    """Return a count within 0 and ``most``."""
    return min(max(value, 0), most)


def clamp_real(value: float, low: float, high: float) -> float:
    """Return a number within its bounds; what is none (NaN) becomes the lower one."""
    if isinstance(value, float) and math.isnan(value):  # a whole number may be too large to be asked as a float
        return low
    return min(max(value, low), high)
