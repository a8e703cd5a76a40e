"""The allocator, as the loop sees it."""

from __future__ import annotations

from typing import Protocol

from echoplaned.core.effects import ExplainReading, PlanInstance
from echoplaned.core.state import State


class Planner(Protocol):
    """The allocator, as the loop sees it."""

    def plan_instance(self, effect: PlanInstance, state: State) -> None:
        """Find a device for an instance. Answers Reserved or Refused."""
        ...

    def explain_reading(self, effect: ExplainReading, state: State) -> None:
        """Set a process's peaks beside the formulas. Answers ReadingTaken, or nothing where the checkpoint has gone."""
        ...
