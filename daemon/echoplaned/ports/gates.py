"""The judges of a rollout, as the loop sees them."""

from __future__ import annotations

from typing import Protocol

from echoplaned.core.effects import EvaluateGates
from echoplaned.core.state import Rollout, State


class Gates(Protocol):
    """The judges of a rollout."""

    def evaluate(self, effect: EvaluateGates, state: State) -> None:
        """Judge a window until another one is asked for. Answers GatesJudged about once a second."""
        ...

    def forget(self, rollout: Rollout) -> None:
        """The rollout does not need judging any more."""
        ...
