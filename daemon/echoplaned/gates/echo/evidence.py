"""The echo gate's evidence over a rollout, which is never reset.

It is golden texts scored by both versions, and live requests in pairs.

A text that is scored again at a later stage takes the place of its first score: engines are deterministic but for rounding, so it is
no fresh chance, and a version that has changed meanwhile shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from echoplaned.core.behaviour import Int8Baseline
from echoplaned.gates.echo import live, margins, matching, paired
from echoplaned.gates.echo.description import ChangeDescription
from echoplaned.gates.echo.features import FeatureModel
from echoplaned.gates.echo.live import LiveEvidence
from echoplaned.gates.echo.matching import TracedRequest
from echoplaned.gates.echo.paired import DistanceMeasure, PairedResult, PairedTest
from echoplaned.gates.echo.scored import ScoredText
from echoplaned.gates.echo.subject import EchoSubject
from echoplaned.gates.statistics.bets import log_sum

_LOG_HALF = -0.6931471805599453


@dataclass(frozen=True, slots=True, eq=False)
class FitResult:
    """The result of fitting the listeners.

    Attributes:
        model: the fitted listeners; None: they could not be fitted on what was gathered.
    """

    model: FeatureModel | None


@dataclass(frozen=True, slots=True)
class BehaviourObservation:
    """What one interval brought of behaviour: a part of an observation.

    Attributes:
        texts: golden texts that were scored.
        requests: live requests, in the order of their end.
        calibration: those of the old version that only calibrate.
        lost: telemetry of either version was dropped; nobody who waits is paired any more.
        described: how large the live change is, by listener; empty where that was not computed anew.
        int8_baseline: how far the old version is from itself in INT8, or why that is not known; None: nothing new.
        fit_result: listeners that were fitted; None: nothing new.
    """

    texts: tuple[ScoredText, ...] = ()
    requests: tuple[TracedRequest, ...] = ()
    calibration: tuple[TracedRequest, ...] = ()
    lost: bool = False
    described: tuple[ChangeDescription, ...] = ()
    int8_baseline: Int8Baseline | str | None = None
    fit_result: FitResult | None = None


@dataclass(frozen=True, slots=True, eq=False)
class EchoEvidence:
    """All evidence of a rollout.

    Attributes:
        subject: what is compared.
        asked: indices of the texts that the present round scores.
        missing: of these, indices of those without a score.
        scored: the newest score by index.
        result: what the scores say; None without any.
        live: what live requests say.
        described: the newest description of the live change.
    """

    subject: EchoSubject
    asked: frozenset[int] = frozenset()
    missing: frozenset[int] = frozenset()
    scored: Mapping[int, ScoredText] = field(default_factory=lambda: MappingProxyType({}))
    result: PairedResult | None = None
    live: LiveEvidence = field(default_factory=LiveEvidence)
    described: tuple[ChangeDescription, ...] = ()

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
    """Go on with another window; an extended one has texts scored again.

    Whoever waits for a partner came under other weights, and is dropped.
    """
    waiting = matching.empty(evidence.live.waiting)
    after = replace(evidence, live=replace(evidence.live, waiting=waiting))
    return _rounded(after) if extended else after


def _rounded(evidence: EchoEvidence, first: int = 0) -> EchoEvidence:
    """Begin a round: texts from this one on are to be scored, again where they were."""
    subject = evidence.subject
    indices = frozenset(range(first, min(first + subject.policy.prompt_count, subject.text_count)))
    return replace(evidence, asked=indices, missing=indices)


def observe(evidence: EchoEvidence, seen: BehaviourObservation) -> EchoEvidence:
    """Add what an interval brought."""
    if seen.int8_baseline is not None:
        evidence = replace(evidence, subject=_with_margin(evidence.subject, seen.int8_baseline))
    if seen.texts:
        evidence = _scored(evidence, seen.texts)
    if seen.described:
        evidence = replace(evidence, described=seen.described)
    known = evidence.live
    if known.distances:
        known = replace(known, distances=())
    if seen.fit_result is not None:
        known = live.use_model(known, seen.fit_result.model)
    if seen.calibration:
        known = live.calibrate(known, tuple(r.sequence for r in seen.calibration if r.sequence is not None))
    if seen.lost:
        known = replace(known, waiting=matching.empty(known.waiting))
    elif seen.requests:
        known = live.observe(known, seen.requests)
    return evidence if known is evidence.live else replace(evidence, live=known)


def _with_margin(subject: EchoSubject, found: Int8Baseline | str) -> EchoSubject:
    if isinstance(found, str):
        return replace(subject, why_default=found)
    return replace(subject, int8_baseline=found)


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


def reweigh(evidence: EchoEvidence) -> EchoEvidence:
    """Weigh the scored texts anew."""
    return replace(evidence, result=_result(evidence))


def _result(evidence: EchoEvidence) -> PairedResult | None:
    good = tuple(text for text in evidence.scored.values() if not text.problem)
    if not good:
        return None
    measure = margins.measure_of(evidence.subject.task, good)
    distances = tuple(found for text in good if (found := text.distance(measure)) is not None)
    return paired.compare(distances, paired_test(evidence.subject, measure))


def paired_test(subject: EchoSubject, measure: DistanceMeasure) -> PairedTest:
    """Return the test of the golden texts.

    Half of alpha is theirs, half the live requests'.
    """
    margin, _ = subject.margin(measure)
    return PairedTest(measure, margin, subject.policy.alpha / 2.0, 1.0 - subject.confidence)
