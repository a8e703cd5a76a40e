"""Ids of operations, rollouts and workers."""

from __future__ import annotations

import secrets
import time

_BASE32 = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id() -> str:
    """Draw an id: lower-case base 32, sorts by time.

    It is the time in milliseconds, then 40 random bits.
    """
    number = (time.time_ns() // 1_000_000) << 40 | secrets.randbits(40)
    return "".join(_BASE32[(number >> shift) & 31] for shift in range(80, -1, -5))
