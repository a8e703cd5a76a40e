"""Logs what the loop did, and keeps the machine quiet during a rollout."""

from __future__ import annotations

from typing import Protocol

import structlog

from echoplaned.core.effects import Announce, FinishOperation
from echoplaned.core.rollout_state import Phase
from echoplaned.core.state import State

log = structlog.get_logger(__name__)

_JUDGED = frozenset({Phase.SHIFTING, Phase.OBSERVING, Phase.SOAKING, Phase.REVERTING})


class Standby(Protocol):
    """Whoever starts engines for standby."""

    def hold_refill(self, *, held: bool) -> None:
        """Start none for now, or go on."""
        ...


class LoopObserver:
    """Implements ``Observer`` of the dispatcher."""

    def __init__(self, standby: Standby) -> None:
        self._standby = standby
        self._held = False

    def on_announced(self, announce: Announce) -> None:
        """Write it to the log, under the ids that it is about."""
        log.info(announce.kind, subject=announce.subject, text=announce.text, sequence=announce.sequence)

    def on_changed(self, before: State, after: State) -> None:
        """Start no leaders for standby while a rollout is judged.

        Warming one takes a core that the rollout would miss.
        """
        del before
        held = any(m.rollout is not None and m.rollout.phase in _JUDGED for m in after.models.values())
        if held != self._held:
            self._held = held
            self._standby.hold_refill(held=held)

    def on_finished(self, effect: FinishOperation, state: State) -> None:
        """Write an operation's end to the log."""
        del state
        operation = effect.operation
        failure = operation.failure
        log.info(
            "operation.finished",
            operation=operation.operation_id,
            kind=operation.kind.value,
            model=operation.model,
            version=operation.version,
            rollout=operation.rollout_id,
            reason=failure.reason.value if failure is not None else "",
            detail=failure.message if failure is not None else "",
        )
