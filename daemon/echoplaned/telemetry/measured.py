"""Ports with a watch on them: what passes through is counted."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from echoplaned.core.effects import Announce
from echoplaned.core.events import Event, GatesJudged
from echoplaned.core.state import State
from echoplaned.ports.emit import Emit
from echoplaned.ports.store import Store
from echoplaned.runtime.faults import contain
from echoplaned.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)


class MeasuredStore:
    """A ``Store`` around another one that counts what is committed.

    Counters come from two committed states that follow each other, so nothing counts twice.

    Args:
        store: where everything is written.
        metrics: what counts.
        monotonic: seconds of a clock that never goes back.
    """

    def __init__(self, store: Store, metrics: Metrics, monotonic: Callable[[], float]) -> None:
        self._store = store
        self._metrics = metrics
        self._monotonic = monotonic

    def load(self) -> State:
        """Return the stored state; see ``Store.load``."""
        return self._store.load()

    def commit(self, before: State, after: State, announces: tuple[Announce, ...]) -> None:
        """Write what differs; see ``Store.commit``."""
        began, committed = self._monotonic(), False
        try:
            self._store.commit(before, after, announces)
            committed = True
        finally:
            # What is committed is committed, whatever the metrics make of it.
            with contain(_log_lost):
                self._metrics.commit_ended(self._monotonic() - began, ok=committed)
        with contain(_log_lost):
            self._metrics.state_changed(before, after)

    def check(self) -> None:
        """Look whether a commit could be written; see ``Store.check``."""
        self._store.check()


def _log_lost(error: BaseException) -> None:
    log.error("metrics.failed", exc_info=error)


def counting_emit(emit: Emit, metrics: Metrics) -> Emit:
    """Return an ``Emit`` for the gates that counts their verdicts.

    They are not in what is committed: a HOLD comes every second.
    """

    def counted(event: Event) -> None:
        if isinstance(event, GatesJudged):
            with contain(_log_lost):
                for verdict in event.verdicts:
                    metrics.gate_judged(verdict.gate, verdict.verdict)
        emit(event)

    return counted
