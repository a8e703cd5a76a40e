"""Keeps the echo gate's evidence where it outlives the daemon: it is written before any verdict that rests on it is told."""

from __future__ import annotations

import asyncio

import structlog

from echoplaned.gates.echo import keeping
from echoplaned.gates.echo.evidence import EchoEvidence, EchoSubject
from echoplaned.gates.echo.keeping import EvidenceUnreadableError
from echoplaned.ports.evidence import EvidenceStore

_log = structlog.get_logger(__name__)


class EchoKeeper:
    """One rollout's evidence in a store.

    Args:
        store: where it is kept; None: nowhere.
        rollout_id: whose it is.
    """

    def __init__(self, store: EvidenceStore | None, rollout_id: str) -> None:
        self._store = store
        self._rollout_id = rollout_id
        self._kept: EchoEvidence | None = None

    def restored(self, subject: EchoSubject) -> EchoEvidence | None:
        """Return what an earlier daemon kept; None where there is nothing that can be read."""
        if self._store is None:
            return None
        try:
            content = self._store.load(self._rollout_id)
            self._kept = None if content is None else keeping.restore(subject, content)
        except (OSError, EvidenceUnreadableError) as error:
            _log.warning("gates.evidence_lost", rollout=self._rollout_id, error=str(error))
        return self._kept

    async def keep(self, evidence: EchoEvidence | None) -> bool:
        """Write evidence unless it is there already; False if that failed, and no verdict may rest on it yet."""
        if self._store is None or evidence is None or evidence is self._kept:
            return True
        try:
            await asyncio.to_thread(_save, self._store, self._rollout_id, evidence)
        except OSError as error:
            _log.warning("gates.evidence_unsaved", rollout=self._rollout_id, error=str(error))
            return False
        self._kept = evidence
        return True

    def forget(self) -> None:
        """Remove what was kept: the rollout is over."""
        if self._store is None:
            return
        try:
            self._store.forget(self._rollout_id)
        except OSError as error:
            _log.warning("gates.evidence_left", rollout=self._rollout_id, error=str(error))


def _save(store: EvidenceStore, rollout_id: str, evidence: EchoEvidence) -> None:
    store.save(rollout_id, keeping.dump(evidence))
