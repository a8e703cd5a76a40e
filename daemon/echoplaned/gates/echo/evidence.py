"""The echo gate's evidence over a rollout: golden texts scored by both versions, and live requests in pairs. Never reset.

A text that is scored again at a later stage takes the place of its first score: engines are deterministic but for rounding, so it is
no fresh chance, and a version that has changed meanwhile shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from echoplaned.core.facts import Task
from echoplaned.core.spec import BehaviourChange, EchoPolicy
from echoplaned.gates.bets import log_sum
from echoplaned.gates.echo import distances, live, matching, paired
from echoplaned.gates.echo.description import Described
from echoplaned.gates.echo.live import LiveEvidence
from echoplaned.gates.echo.matching import Request
from echoplaned.gates.echo.paired import Measure, PairedResult, PairedTest
from echoplaned.gates.echo.scored import ScoredText

DEFAULT_KL_NATS = 0.004
"""Three times that of an 8-bit copy (q8_0) of Llama 3 8B, which llama.cpp's perplexity tool lists with 0.00139 nats a token."""

DEFAULT_COSINE_DISTANCE = 0.002
"""Three times the mean cosine distance of an INT8 copy of all-MiniLM-L6-v2 on the golden texts (0.00055), rounded up."""

_LOG_HALF = -0.6931471805599453


@dataclass(frozen=True, slots=True)
class EchoSubject:
    """What is compared. ``confidence``: of passing. ``text_count``: golden texts that can be scored; 0 for none, then ``why_not``."""

    policy: EchoPolicy
    change: BehaviourChange
    task: Task
    confidence: float
    text_count: int = 0
    why_not: str = ""

    @property
    def scorable(self) -> bool:
        """Whether anything can have texts scored."""
        return self.text_count > 0


@dataclass(frozen=True, slots=True)
class EchoSeen:
    """What one interval brought. ``lost``: telemetry of either version was dropped; nobody who waits is paired any more.

    ``described``: how large the live change is, by listener; empty where that was not computed anew.
    """

    texts: tuple[ScoredText, ...] = ()
    requests: tuple[Request, ...] = ()
    calibration: tuple[Request, ...] = ()
    lost: bool = False
    described: tuple[Described, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class EchoEvidence:
    """All evidence of a rollout. ``wanted``: texts that the present round scores, by index; ``scored``: by index, the newest score.

    ``described``: the newest description of the live change.
    """

    subject: EchoSubject
    wanted: frozenset[int] = frozenset()
    missing: frozenset[int] = frozenset()
    scored: Mapping[int, ScoredText] = field(default_factory=lambda: MappingProxyType({}))
    result: PairedResult | None = None
    live: LiveEvidence = field(default_factory=LiveEvidence)
    described: tuple[Described, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """Why texts could not be compared."""
        return tuple(text.problem for text in self.scored.values() if text.problem)

    @property
    def compared(self) -> int:
        """Texts that could be."""
        return sum(1 for text in self.scored.values() if not text.problem)

    @property
    def paired_log_e(self) -> float:
        """The logarithm of the golden texts' e-value; 0 without any."""
        return self.result.log_e if self.result is not None else 0.0

    @property
    def log_e(self) -> float:
        """The logarithm of the average of both e-values."""
        return log_sum((self.paired_log_e + _LOG_HALF, self.live.log_e + _LOG_HALF))


def begin(subject: EchoSubject) -> EchoEvidence:
    """Start with nothing known, and a round of texts to score."""
    return _rounded(EchoEvidence(subject))


def enter(evidence: EchoEvidence, *, extended: bool) -> EchoEvidence:
    """Go on with another window; an extended one has texts scored again. Whoever waits for a partner came under other weights."""
    waiting = matching.emptied(evidence.live.waiting)
    after = replace(evidence, live=replace(evidence.live, waiting=waiting))
    return _rounded(after) if extended else after


def _rounded(evidence: EchoEvidence, first: int = 0) -> EchoEvidence:
    """Begin a round: texts from this one on are to be scored, again where they were."""
    subject = evidence.subject
    indices = frozenset(range(first, min(first + subject.policy.prompt_count, subject.text_count)))
    return replace(evidence, wanted=indices, missing=indices)


def observe(evidence: EchoEvidence, seen: EchoSeen) -> EchoEvidence:
    """Take an interval in."""
    if seen.texts:
        evidence = _scored(evidence, seen.texts)
    if seen.described:
        evidence = replace(evidence, described=seen.described)
    known = evidence.live
    if known.distances:
        known = replace(known, distances=())
    if seen.calibration:
        known = live.calibrate(known, tuple(r.sequence for r in seen.calibration if r.sequence is not None))
    if seen.lost:
        known = replace(known, waiting=matching.emptied(known.waiting))
    elif seen.requests:
        known = live.observe(known, seen.requests)
    return evidence if known is evidence.live else replace(evidence, live=known)


def _scored(evidence: EchoEvidence, texts: tuple[ScoredText, ...]) -> EchoEvidence:
    scored = {**evidence.scored, **{text.index: text for text in texts}}
    after = replace(
        evidence,
        scored=MappingProxyType(dict(sorted(scored.items()))),
        missing=evidence.missing - {text.index for text in texts},
    )
    after = replace(after, result=_result(after))
    # Fresh texts only: what was scored says the same the next time.
    more = len(after.scored) < after.subject.text_count
    undecided = after.result is not None and not after.result.is_within and not after.result.is_beyond
    return _rounded(after, len(after.scored)) if more and undecided and not after.missing else after


def _result(evidence: EchoEvidence) -> PairedResult | None:
    good = tuple(text for text in evidence.scored.values() if not text.problem)
    if not good:
        return None
    measure = measure_of(evidence.subject.task, good)
    told = tuple(found for text in good if (found := text.distance(measure)) is not None)
    return paired.compare(told, paired_test(evidence.subject, measure))


def measure_of(task: Task, texts: tuple[ScoredText, ...]) -> Measure:
    """Return what all of the texts can be measured by."""
    if task is Task.CLASSIFICATION:
        return Measure.CLASS_KL
    if task is Task.EMBEDDING:
        return Measure.COSINE
    return Measure.KL if all(text.kl is not None for text in texts) else Measure.LOG_PROBABILITY


def margin_of(policy: EchoPolicy, measure: Measure) -> tuple[float, str]:
    """Return the margin in a measure's unit, and where it comes from."""
    if measure is Measure.COSINE:
        if policy.max_distance is not None:
            return policy.max_distance, "the policy's max_distance"
        return DEFAULT_COSINE_DISTANCE, "the default of max_distance"
    kl, source = (
        (policy.max_kl_nats, "the policy's max_kl_nats")
        if policy.max_kl_nats is not None
        else (DEFAULT_KL_NATS, "the default of max_kl_nats")
    )
    if measure is Measure.LOG_PROBABILITY:
        return distances.difference_of_kl(kl), f"{source} ({kl:g} nats) as a difference of log-probabilities"
    return kl, source


def paired_test(subject: EchoSubject, measure: Measure) -> PairedTest:
    """Return the test of the golden texts: half of alpha is theirs, half the live requests'."""
    margin, _ = margin_of(subject.policy, measure)
    return PairedTest(measure, margin, subject.policy.alpha / 2.0, 1.0 - subject.confidence)
