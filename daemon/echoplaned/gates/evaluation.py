"""The list of gates over one rollout, evaluated without side effects.

It has everything that is known, and what it means. Pure, so it runs in any thread.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from echoplaned.core.rollout_state import GateVerdict, Verdict
from echoplaned.gates.codes import Code
from echoplaned.gates.gate import Ask, Gate, JudgeContext, Judgement, JudgeProbes, Lack, Need, Observation, Start
from echoplaned.gates.window import Window

EvidenceT = TypeVar("EvidenceT")

_MISSING = {
    Need.ARRIVALS: "count no arrivals",
    Need.ERRORS: "count no errors",
    Need.HISTOGRAMS: "have no latency histograms",
    Need.TRACES: "have no traces",
}


@dataclass(frozen=True, slots=True, eq=False)
class GateRecord(Generic[EvidenceT]):
    """One gate with its evidence of a rollout.

    Attributes:
        gate: the gate.
        evidence: the gate's own evidence.
    """

    gate: Gate[EvidenceT]
    evidence: EvidenceT

    def enter(self, window: Window) -> GateRecord[EvidenceT]:
        """Go on with another window."""
        return replace(self, evidence=self.gate.enter(self.evidence, window))

    def observe(self, seen: Observation) -> GateRecord[EvidenceT]:
        """Add what an interval brought."""
        return replace(self, evidence=self.gate.observe(self.evidence, seen))

    def weigh(self, moment: JudgeContext, lacks: tuple[Lack, ...]) -> Judgement:
        """Have the gate judge, or abstain where it misses what it needs."""
        missing = tuple(lack for lack in lacks if lack.need in self.gate.needs())
        unseen = next((lack for lack in missing if not lack.replaced), None)
        if unseen is not None:
            return abstain(self.gate.name, unseen)
        said = self.gate.judge(self.evidence, moment)
        return hold_uncounted(said, missing[0]) if missing else said


@dataclass(frozen=True, slots=True, eq=False)
class RolloutEvidence:
    """All that is known of a rollout.

    Attributes:
        window: the window to which the gates' counts belong.
        records: one a gate that has a say in this rollout, in the order of the list.
        lacks: what the versions' engines did not report at the last observation.
    """

    window: Window
    records: tuple[GateRecord[Any], ...]
    lacks: tuple[Lack, ...] = ()


@dataclass(frozen=True, slots=True)
class GateResults:
    """What all gates say of a window at one time.

    Attributes:
        verdicts: one a gate that has a say.
        asks: what is to be done; nothing for a verdict alone, where the window has failed.
    """

    verdicts: tuple[Verdict, ...]
    asks: tuple[Ask, ...]


def begin(gates: tuple[Gate[Any], ...], start: Start) -> RolloutEvidence:
    """Begin a rollout's evidence with a window.

    It is the rollout's first one, or the first one after a restart.
    """
    begun = ((gate, gate.begin(start)) for gate in gates)
    return RolloutEvidence(
        start.window, tuple(GateRecord(gate, evidence) for gate, evidence in begun if evidence is not None)
    )


def enter(evidence: RolloutEvidence, window: Window) -> RolloutEvidence:
    """Go on with another window."""
    return replace(evidence, window=window, records=tuple(record.enter(window) for record in evidence.records))


def observe(evidence: RolloutEvidence, seen: Observation) -> RolloutEvidence:
    """Add what an interval brought."""
    return replace(evidence, records=tuple(record.observe(seen) for record in evidence.records), lacks=seen.lacks)


def weigh(evidence: RolloutEvidence, now_s: float) -> GateResults:
    """Have every gate judge the window, each knowing what those before it ask for.

    The stage passes when every verdict is PASS; any FAIL rolls back.
    """
    verdicts: list[Verdict] = []
    asks: list[Ask] = []
    for record in evidence.records:
        said = record.weigh(JudgeContext(now_s, tuple(asks)), evidence.lacks)
        verdicts += [said.verdict] if said.verdict is not None else []
        asks += said.asks
    if any(verdict.verdict is GateVerdict.FAIL for verdict in verdicts):
        asks = [ask for ask in asks if not ask.decides]
    return GateResults(tuple(verdicts), tuple(asks))


def hold_uncounted(said: Judgement, lack: Lack) -> Judgement:
    """Turn a failure by clients' reports alone into a hold.

    Their word proves nothing that nobody of ours counted.
    """
    verdict = said.verdict
    if verdict is None or verdict.verdict is not GateVerdict.FAIL:
        return said
    text = (
        f"the engines of version {lack.version} {_MISSING[lack.need]}, and clients' reports alone fail no version; "
        f"they say {verdict.reason}"
    )
    return replace(
        said, verdict=replace(verdict, verdict=GateVerdict.HOLD, reason=f"{Code.UNCOUNTED}: {text}", confidence=0.0)
    )


def abstain(gate: str, lack: Lack) -> Judgement:
    """Return the judgement of a gate that lacks a source.

    It has no say, and says so. Paired probes have one then: what nobody can see must not pass unseen.
    """
    text = (
        f"the gate {gate} abstains: the engines of version {lack.version} {_MISSING[lack.need]}; paired probes decide"
    )
    return Judgement(Verdict(gate, GateVerdict.PASS, f"{Code.ABSTAINED}: {text}"), (JudgeProbes(),))
