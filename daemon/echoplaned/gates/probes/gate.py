"""The gate ``probes``: fails a version that alone fails paired probes.

It does so where they have a say (``statistics.pairs``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from echoplaned.core.rollout_state import Evidence, GateVerdict, Verdict
from echoplaned.gates.codes import Code
from echoplaned.gates.gate import JudgeContext, Judgement, MakePairs, Need, Observation, Start
from echoplaned.gates.statistics import noninferiority, pairs
from echoplaned.gates.statistics.noninferiority import Rate
from echoplaned.gates.statistics.pairs import PairEvidence
from echoplaned.gates.window import Window

NAME = "probes"


@dataclass(frozen=True, slots=True)
class ProbesEvidence:
    """What paired probes showed.

    Attributes:
        window: the window to which the window's counts belong.
        pairs: counts of the pairs.
    """

    window: Window
    pairs: PairEvidence = field(default_factory=PairEvidence)

    @property
    def passed(self) -> bool:
        """Whether the new version answered as many in a row as a window needs."""
        return self.pairs.row >= self.window.policy.probe_count


class ProbesGate:
    """Implements ``Gate`` on paired probes.

    They have a say in extended stages, where another gate asks for it, and once any were made: then for the rest of the window.
    """

    @property
    def name(self) -> str:
        """The gate's name."""
        return NAME

    def needs(self) -> frozenset[Need]:
        """Nothing that an engine could lack."""
        return frozenset()

    def begin(self, start: Start) -> ProbesEvidence:
        """Begin with no pair."""
        return ProbesEvidence(start.window)

    def enter(self, evidence: ProbesEvidence, window: Window) -> ProbesEvidence:
        """Go on with another window."""
        return ProbesEvidence(window, pairs.next_window(evidence.pairs))

    def observe(self, evidence: ProbesEvidence, seen: Observation) -> ProbesEvidence:
        """Add the interval's pairs."""
        counted = evidence.pairs
        for pair in seen.pairs:
            counted = pairs.update(counted, pair)
        return replace(evidence, pairs=counted)

    def judge(self, evidence: ProbesEvidence, moment: JudgeContext) -> Judgement:
        """Judge the pairs where they have a say, and ask for more until there are enough."""
        if not (evidence.window.extended or evidence.pairs.window_pairs or moment.judges_probes):
            return Judgement()
        more = MakePairs(evidence.pairs.row, evidence.window.policy.probe_count)
        return Judgement(_decide(evidence), () if evidence.passed else (more,))


def _decide(evidence: ProbesEvidence) -> Verdict:
    counted, policy = evidence.pairs, evidence.window.policy
    alpha = evidence.window.side_alpha
    if counted.log_e >= -math.log(alpha):
        text = (
            f"the new version alone failed {counted.new_alone} paired probes, "
            f"the old one alone {counted.old_alone}: {counted.detail}"
        )
        return _verdict(evidence, GateVerdict.FAIL, f"{Code.PROBES_NEW_FAILS}: {text}", 1.0 - alpha)
    if counted.both_failed_last:
        return _verdict(evidence, GateVerdict.HOLD, f"{Code.PROBES_BOTH_FAIL}: both versions fail: {counted.detail}")
    if evidence.passed:
        confidence = 1.0 - noninferiority.upper_bound(Rate(0, counted.row), 1.0 - policy.confidence)
        text = f"{Code.PROBES_PASSED}: {counted.row} pairs in a row"
        return _verdict(evidence, GateVerdict.PASS, text, confidence)
    failed = f"; the new version alone failed {counted.window_new_alone}" if counted.window_new_alone else ""
    text = f"{Code.PROBES_RUNNING}: {counted.row} of {policy.probe_count} pairs in a row{failed}"
    return _verdict(evidence, GateVerdict.HOLD, text)


def _verdict(evidence: ProbesEvidence, verdict: GateVerdict, reason: str, confidence: float = 0.0) -> Verdict:
    counts = (
        ("probe_count", evidence.pairs.window_pairs),
        ("probe_failure_count", evidence.pairs.window_new_alone),
        ("probe_both_failure_count", evidence.pairs.window_both),
    )
    return Verdict(NAME, verdict, reason, confidence, counts, Evidence.PROBES)
