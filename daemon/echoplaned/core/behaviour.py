"""How differently two versions behave, as a verdict reports it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Int8Baseline:
    """How far a version is from its own INT8 copy: what a harmless change looks like.

    Attributes:
        measure: what is measured of a golden text, as ``BehaviourReport.measure``.
        mean: mean distance, in the measure's unit, above 0.
        texts: golden texts that it rests on, 1 or more.
    """

    measure: str
    mean: float
    texts: int


@dataclass(frozen=True, slots=True)
class MovedText:
    """A text and how far its two answers are apart, in the report's measure.

    Attributes:
        text: its first 120 characters.
        distance: its mean distance, in the report's unit, 0 or more.
    """

    text: str
    distance: float


@dataclass(frozen=True, slots=True)
class ListenerValue:
    """What one listener's bets on live requests are worth as evidence.

    Attributes:
        name: ``RESERVOIR``, ``AR4``, ``MOMENTS`` or ``LOG_PROBABILITY``.
        log_e: natural logarithm of its e-value; 0 before the first pair.
        votes: whether it counts in the live e-value.
        mmd_squared: unbiased squared maximum mean discrepancy of its features; describes and does not decide. None: not computed.
        mmd_p_value: p-value of that, in (0, 1], for one look only; describes and does not decide. None: not computed.
    """

    name: str
    log_e: float
    votes: bool
    mmd_squared: float | None = None
    mmd_p_value: float | None = None


@dataclass(frozen=True, slots=True)
class BehaviourReport:
    """Size, certainty and examples of a change of behaviour.

    Attributes:
        measure: ``KL`` or ``LOG_PROBABILITY`` (nats a token), ``CLASS_KL`` (nats), ``COSINE`` (1 less the cosine); empty: no text scored.
        margin: what the mean is compared with, in the measure's unit.
        margin_source: where the margin comes from, for people.
        ceiling: what a single distance counts for at most, in the measure's unit.
        mean: mean of the distances, each clipped at the ceiling, in the measure's unit.
        lower: lower confidence limit of the mean, at half of the policy's alpha.
        upper: upper confidence limit of the mean, at the policy's confidence.
        texts: golden texts that both versions scored.
        tokens: distances in them: tokens, or one a text.
        clipped: of these distances, those above the ceiling.
        pairs: matched pairs of live requests that were bet on.
        log_e: natural logarithm of the e-value against the new version, golden texts and live requests together.
        paired_log_e: the golden texts' part of it, a natural logarithm too.
        live_log_e: the live requests' part of it, a natural logarithm too.
        listeners: the live part by listener.
        moved: texts that moved most, the farthest first.
        text_distances: mean distance of each scored text, in the measure's unit, at most 64.
        log_e_path: natural logarithm of the live e-value after each of the newest pairs, at most 64 points.
        health: alarms of the health tree, one line each; they decide nothing.
        described_pairs: newest pairs that the listeners' MMD was computed on; 0: none.
    """

    measure: str
    margin: float
    margin_source: str
    ceiling: float
    mean: float
    lower: float
    upper: float
    texts: int
    tokens: int
    clipped: int
    pairs: int
    log_e: float
    paired_log_e: float
    live_log_e: float
    listeners: tuple[ListenerValue, ...] = ()
    moved: tuple[MovedText, ...] = ()
    text_distances: tuple[float, ...] = ()
    log_e_path: tuple[float, ...] = ()
    health: tuple[str, ...] = ()
    described_pairs: int = 0
