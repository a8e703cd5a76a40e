"""Gate evidence that outlives the daemon.

It is written before any verdict that rests on it is reported.
"""

from __future__ import annotations

from dataclasses import replace
from threading import Lock
from typing import Any

import structlog

from echoplaned.gates.evaluation import GateRecord, RolloutEvidence
from echoplaned.gates.gate import EvidenceUnreadableError, PersistentGate
from echoplaned.ports.evidence import EvidenceStore

_log = structlog.get_logger(__name__)


class EvidencePersistence:
    """One rollout's evidence in a store.

    Blocking but for ``is_saved``; one call at a time.

    Args:
        store: where it is written; None: nowhere.
        rollout_id: whose it is.
    """

    def __init__(self, store: EvidenceStore | None, rollout_id: str) -> None:
        self._store = store
        self._rollout_id = rollout_id
        self._saved: object = None
        self._deleted = False
        # A save that was begun before the rollout ended may still run in another thread.
        self._writing = Lock()

    def restore(self, evidence: RolloutEvidence) -> RolloutEvidence:
        """Return begun evidence with what an earlier daemon wrote.

        Where that cannot be read, the evidence is returned as it is.
        """
        record = _persistent(evidence)
        if self._store is None or record is None:
            return evidence
        try:
            content = self._store.load(self._rollout_id)
            if content is None:
                return evidence
            known = record.gate.restore(record.evidence, content, evidence.window)
        except (OSError, EvidenceUnreadableError) as error:
            _log.warning("evidence.unreadable", rollout=self._rollout_id, error=str(error))
            return evidence
        records = (replace(each, evidence=known) if each.gate is record.gate else each for each in evidence.records)
        return replace(evidence, records=tuple(records))

    def is_saved(self, evidence: RolloutEvidence) -> bool:
        """Whether evidence is written already, or none of it is to be."""
        record = _persistent(evidence)
        return self._store is None or record is None or record.gate.durable(record.evidence) is self._saved

    def save(self, evidence: RolloutEvidence) -> bool:
        """Write evidence; False if that failed, and no verdict may rest on it yet."""
        record = _persistent(evidence)
        if self._store is None or record is None:
            return True
        content = record.gate.encode(record.evidence)
        with self._writing:
            if self._deleted:
                return False
            try:
                self._store.save(self._rollout_id, content)
            except OSError as error:
                _log.warning("evidence.not_saved", rollout=self._rollout_id, error=str(error))
                return False
            self._saved = record.gate.durable(record.evidence)
        return True

    def delete(self) -> None:
        """Remove what was written: the rollout is over."""
        if self._store is None:
            return
        with self._writing:
            self._deleted = True
            try:
                self._store.delete(self._rollout_id)
            except OSError as error:
                _log.warning("evidence.not_deleted", rollout=self._rollout_id, error=str(error))


def persistent_gates(evidence: RolloutEvidence) -> frozenset[str]:
    """Return the names of gates whose evidence has to be written first.

    Their verdicts rest on it.
    """
    record = _persistent(evidence)
    return frozenset() if record is None else frozenset({record.gate.name})


class _PersistentRecord:
    """A gate that is persistent, and its evidence."""

    def __init__(self, gate: PersistentGate[Any], record: GateRecord[Any]) -> None:
        self.gate = gate
        self.evidence = record.evidence


def _persistent(evidence: RolloutEvidence) -> _PersistentRecord | None:
    found = ((record.gate, record) for record in evidence.records)
    return next((_PersistentRecord(gate, record) for gate, record in found if isinstance(gate, PersistentGate)), None)
