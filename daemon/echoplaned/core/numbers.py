"""Clamping of numbers from outside, where they enter.

What is added up or shown later is then in range without a second look.
"""

from __future__ import annotations

import math
from typing import Final

MAX_COUNT: Final = 10**15
"""A million requests a second for thirty years, or a petabyte; exact in a double, and thousands of them still add up within 64 bits."""


def clamp_count(value: int, most: int = MAX_COUNT) -> int:
    """Return a count within 0 and ``most``."""
    return min(max(value, 0), most)


def clamp_real(value: float, low: float, high: float) -> float:
    """Return a number within its bounds; what is none (NaN) becomes the lower one."""
    if isinstance(value, float) and math.isnan(value):  # a whole number may be too large to be asked as a float
        return low
    return min(max(value, low), high)
