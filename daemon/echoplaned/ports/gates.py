"""The gates that judge a rollout, as the loop sees them."""

from __future__ import annotations

from typing import Protocol

from echoplaned.core.effects import EvaluateGates
from echoplaned.core.state import State


class Gates(Protocol):
    """The gates that judge a rollout."""

    def evaluate(self, effect: EvaluateGates, state: State) -> None:
        """Judge an evidence window until another one is asked for.

        Answers GatesJudged about once a second.
        """
        ...

    def end(self, rollout_id: str) -> None:
        """The rollout is over: judge it no more, and remove what was kept of it."""
        ...
