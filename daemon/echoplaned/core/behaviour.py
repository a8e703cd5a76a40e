"""How differently two versions behave, as a verdict reports it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Int8Baseline:
    """How far a version is from itself in INT8, on golden texts: what a harmless change looks like.

    ``measure``: as in ``BehaviourReport``; ``mean``: in its unit, above 0; ``texts``: it rests on.
    """

    measure: str
    mean: float
    texts: int


@dataclass(frozen=True, slots=True)
class MovedText:
    """A text and how far its two answers are apart, in the report's measure."""

    text: str
    distance: float


@dataclass(frozen=True, slots=True)
class ListenerValue:
    """What one listener's bets are worth: ``log_e`` is the natural logarithm of its e-value; ``votes``: whether it counts.

    ``mmd_squared`` and ``mmd_p_value`` describe the change in its features and do not decide; None where it was not described.
    """

    name: str
    log_e: float
    votes: bool
    mmd_squared: float | None = None
    mmd_p_value: float | None = None


@dataclass(frozen=True, slots=True)
class BehaviourReport:
    """Size, certainty and examples of a change of behaviour.

    ``measure``: ``KL`` or ``LOG_PROBABILITY`` (nats a token), ``CLASS_KL`` (nats) or ``COSINE`` (one less the cosine). ``margin``: what the
    mean is compared with, in the same unit; ``margin_source``: where it comes from. ``mean`` is of distances clipped at ``ceiling``,
    ``clipped`` of them; ``lower`` and ``upper`` are its limits. ``*_log_e``: natural logarithms of e-values against the new version.
    ``moved``: the texts that moved most. ``text_distances``: one a text; ``log_e_path``: the live e-value after each of the newest pairs.
    ``health``: lines of the health tree's alarms. ``described_pairs``: newest pairs that the listeners' MMD was computed on, 0 for none.
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
