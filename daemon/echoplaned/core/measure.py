"""What a latency measures."""

from __future__ import annotations

from enum import StrEnum


class Measure(StrEnum):
    """What a latency measures."""

    FIRST_TOKEN = "FIRST_TOKEN"  # noqa: S105 - a measure, no password
    INTER_TOKEN = "INTER_TOKEN"  # noqa: S105 - as above
    END_TO_END = "END_TO_END"
