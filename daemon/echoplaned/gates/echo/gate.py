"""The gate ``echo``: checks that the new version answers as before.

It judges by golden texts scored by both versions, and by live requests in pairs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from echoplaned.gates.echo import encoding, health, verdict
from echoplaned.gates.echo import evidence as echo
from echoplaned.gates.echo.asks import DescribeChange, FitListeners, ScoreTexts
from echoplaned.gates.echo.evidence import BehaviourObservation, EchoEvidence
from echoplaned.gates.echo.health import Health
from echoplaned.gates.echo.subject import subject_of
from echoplaned.gates.gate import Ask, JudgeContext, Judgement, Need, Observation, Start
from echoplaned.gates.window import Window
from echoplaned.ports.request_counts import Interval


@dataclass(frozen=True, slots=True, eq=False)
class EchoState:
    """What the echo gate knows of a rollout.

    Attributes:
        echo: what decides; it outlives the daemon.
        health: the event algebra beside it, which decides nothing.
    """

    echo: EchoEvidence
    health: Health = field(default_factory=Health)


class EchoGate:
    """Implements ``PersistentGate`` on scores and traces.

    Args:
        text_count: golden texts that can be scored; None: nothing has texts scored.
        has_traces: whether telemetry of live requests is collected.
    """

    def __init__(self, text_count: int | None, *, has_traces: bool) -> None:
        self._text_count = text_count
        self._has_traces = has_traces

    @property
    def name(self) -> str:
        """The gate's name."""
        return verdict.NAME

    def needs(self) -> frozenset[Need]:
        """Return traces, where there are no golden texts.

        With both it judges by the texts alone, where an engine has no traces.
        """
        return frozenset({Need.TRACES}) if self._text_count is None else frozenset()

    def begin(self, start: Start) -> EchoState | None:
        """Begin with a round of texts to score.

        None where nobody's behaviour is judged.
        """
        subject = subject_of(start.model, start.rollout, self._text_count, has_traces=self._has_traces)
        return EchoState(echo.begin(subject)) if subject is not None else None

    def enter(self, evidence: EchoState, window: Window) -> EchoState:
        """Go on with another window; an extended one has texts scored again."""
        return EchoState(echo.enter(evidence.echo, extended=window.extended), health.end_epochs(evidence.health))

    def observe(self, evidence: EchoState, seen: Observation) -> EchoState:
        """Add what an interval brought of behaviour, of probes and of errors."""
        after = echo.observe(evidence.echo, seen.part(BehaviourObservation) or BehaviourObservation())
        most = max((interval for _, interval in seen.intervals), key=lambda each: each.requests, default=Interval())
        return EchoState(after, health.observe(evidence.health, seen.pairs, most, after.live.distances))

    def judge(self, evidence: EchoState, moment: JudgeContext) -> Judgement:
        """Judge behaviour as it was observed last, whatever the moment."""
        known = evidence.echo
        asks: list[Ask] = []
        if known.missing:
            asks.append(ScoreTexts(known.missing, known.subject.measures_margin))
        if known.live.to_fit:
            asks.append(FitListeners(known.live.to_fit, known.subject.network))
        if known.live.newest:
            asks.append(DescribeChange(known.live.pairs, known.live.newest))
        return Judgement(verdict.decide(known, evidence.health.lines), tuple(asks))

    # --- PersistentGate ---

    def durable(self, evidence: EchoState) -> EchoEvidence:
        """Return what outlives the daemon.

        It is the same object as long as it is unchanged.
        """
        return evidence.echo

    def encode(self, evidence: EchoState) -> bytes:
        """Write it."""
        return encoding.encode(evidence.echo)

    def restore(self, evidence: EchoState, content: bytes, window: Window) -> EchoState:
        """Go on with what an earlier daemon wrote.

        Whether an extended window's texts were scored before the restart is not known; once more is no fresh chance.

        Raises:
            EvidenceUnreadableError: it is damaged, or of another format.
        """
        known = encoding.decode(evidence.echo.subject, content)
        return replace(evidence, echo=echo.enter(known, extended=window.extended))
