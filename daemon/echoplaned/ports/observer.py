"""Metrics and log, as the loop sees them."""

from __future__ import annotations

from typing import Protocol

from echoplaned.core.effects import Announce, FinishOperation
from echoplaned.core.state import State


class Observer(Protocol):
    """Metrics and log: it receives everything that happens, and answers nothing."""

    def on_announced(self, announce: Announce) -> None:
        """Something worth telling happened."""
        ...

    def on_changed(self, before: State, after: State) -> None:
        """The state changed."""
        ...

    def on_finished(self, effect: FinishOperation, state: State) -> None:
        """An operation ended."""
        ...
