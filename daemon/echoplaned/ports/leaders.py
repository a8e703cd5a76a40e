"""What the engines' side alone knows of the processes that lead engines."""

from __future__ import annotations

from collections.abc import Callable

PidOf = Callable[[str], int]
"""The process id of a leader, by the opaque id that events carry; 0: it is not known here, or has gone."""


def no_pid(_leader_id: str) -> int:
    """Know no process."""
    return 0
