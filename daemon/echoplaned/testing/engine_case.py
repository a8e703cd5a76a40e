"""One case of the contract suite, what it needs of an engine, and how it ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from echoplaned.testing.engine_stage import Stage


class CaseNeed(StrEnum):
    """What a case may need that an engine may lack."""

    CHILDREN = "CHILDREN"
    MEMORY = "MEMORY"
    SCORING = "SCORING"
    TRACES = "TRACES"
    HISTOGRAMS = "HISTOGRAMS"
    COUNTERS = "COUNTERS"


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that every leader does.

    Attributes:
        name: in a few words.
        play: does it, and raises AssertionError where it is not done.
        needs: what it needs that an engine may lack.
    """

    name: str
    play: Callable[[Stage], Awaitable[None]]
    needs: CaseNeed | None = None


@dataclass(frozen=True, slots=True)
class CaseOutcome:
    """How a case went.

    Attributes:
        case: its name.
        seconds: how long it took.
        failure: what was wrong; empty: nothing.
        skipped: why it was left out; empty: it was not.
    """

    case: str
    seconds: float = 0.0
    failure: str = ""
    skipped: str = ""

    def __str__(self) -> str:
        verdict = f"skipped: {self.skipped}" if self.skipped else self.failure or "ok"
        return f"{self.case:<52} {self.seconds:6.1f} s  {verdict}"
