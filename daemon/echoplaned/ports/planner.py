"""The allocator, as the loop sees it."""

from __future__ import annotations

from typing import Protocol

from echoplaned.core.effects import ExplainReading, PlaceInstance
from echoplaned.core.state import State


class Planner(Protocol):
    """The allocator, as the loop sees it."""

    def place_instance(self, effect: PlaceInstance, state: State) -> None:
        """Find a device for an instance. Answers InstancePlaced or PlacementRefused."""
        ...

    def explain_reading(self, effect: ExplainReading, state: State) -> None:
        """Set a process's peaks beside the formulas. Answers ReadingTaken, or nothing where the checkpoint has gone."""
        ...
