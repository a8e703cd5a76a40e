"""Evidence and verdicts of a rollout without a runner: what the tests of the list of gates have in common."""

from __future__ import annotations

from typing import TypeVar

from echoplaned.core.rollout_state import GateVerdict, Rollout, Verdict
from echoplaned.core.state import Model
from echoplaned.gates import evaluation
from echoplaned.gates.evaluation import GateResults, RolloutEvidence
from echoplaned.gates.gate import MakePairs, Source, Start
from echoplaned.gates.standard import list_gates
from echoplaned.gates.window import Window

GATES = list_gates(None, has_traces=False)
EvidenceT = TypeVar("EvidenceT")


def begin(window: Window, sources: tuple[Source, ...]) -> RolloutEvidence:
    """Return the evidence of all gates at the begin of a window; nobody's behaviour is judged."""
    rollout = Rollout("r1", "m", "v1", "v2", window.policy, "op1")
    return evaluation.begin(GATES, Start(window, sources, Model("m"), rollout))


def evidence_of(evidence: RolloutEvidence, kind: type[EvidenceT]) -> EvidenceT:
    """Return the evidence of one gate."""
    return next(record.evidence for record in evidence.records if isinstance(record.evidence, kind))


def verdict(weighed: GateResults, gate: str) -> Verdict:
    """Return the verdict of one gate."""
    return next(v for v in weighed.verdicts if v.gate == gate)


def passes(weighed: GateResults) -> bool:
    """Whether the stage passes."""
    return all(v.verdict is GateVerdict.PASS for v in weighed.verdicts)


def asks_for_pairs(weighed: GateResults) -> bool:
    """Whether paired probes are to be made."""
    return any(isinstance(ask, MakePairs) for ask in weighed.asks)
