"""What one request said, in numbers: the telemetry that the echo gate reads.

Adapters make it, gates read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag, StrEnum
from typing import Protocol

import numpy as np
import numpy.typing as npt

from echoplaned.core.ids import VersionKey


class TraceKind(StrEnum):
    """What a trace measures."""

    TOKENS = "TOKENS"
    VECTOR = "VECTOR"


class TraceFlag(IntFlag):
    """What happened to a request, and what was wrong with its telemetry.

    The bits are those of ``worker.proto``.
    """

    NONE = 0
    STOPPED = 1
    """The model ended the answer itself, with a stop token."""
    SAMPLED = 2
    """Tokens were drawn; without it the likeliest was taken."""
    CANCELLED = 4
    """The caller went away: the tokens are those until then."""
    FAILED = 8
    """The model failed: the tokens are those until then."""
    CUT = 16
    """The answer has more tokens than a trace holds: these are its first."""
    NOT_FINITE = 32
    """Samples that were NaN, infinite or out of range were left out; a vector with one has no features."""
    BAD_STEP = 64
    """Token positions stood still, went back or leapt: the samples from there on were left out."""
    TIME_REVERSED = 128
    """It ended, by its worker's clock, before an earlier one, or at no time at all; ``ended_s`` is the daemon's own reading."""
    MALFORMED = 256
    """Its lists do not fit together: they were left out."""


INCOMPLETE = TraceFlag.CANCELLED | TraceFlag.FAILED
"""The answer ended before the model was done with it: its length and its end say nothing of how the model behaves."""

UNSOUND = TraceFlag.NOT_FINITE | TraceFlag.BAD_STEP | TraceFlag.TIME_REVERSED | TraceFlag.MALFORMED
"""Something about the telemetry itself was wrong. What is left is finite and in order, but not all that the worker measured."""


@dataclass(frozen=True, slots=True, eq=False)
class RequestTrace:
    """One request, as far as a model's behaviour shows in it.

    Every number is finite: what was not is left out and flagged.

    Attributes:
        version: which version answered.
        ended_s: when it ended, seconds since the epoch.
        kind: TOKENS for a generation; VECTOR for an embedding or a classification.
        prompt_tokens: number of tokens of the prompt, or of the text.
        log_probabilities: [tokens], nats, at most 0: of each chosen token, before temperature and ``top_k``.
        entropies: [tokens], nats, at least 0: of the distribution that it was chosen from, before temperature and ``top_k``.
        positions: [tokens], strictly increasing: the place of each token in the answer, from 0. A difference is the reservoir's dt.
        features: [values], for VECTOR: mean, standard deviation, skewness, largest magnitude, then the vector itself up to 16 wide,
            else 16 fixed random projections of it. Of the same width for all requests of a version.
        flags: bits of ``TraceFlag``.
        conversation: what the caller gave as ``echoplane-conversation``; empty if nothing. Longer than 64 bytes: a digest of it.
        probe: whether it was one of the daemon's own probes.
        digest: of the text's tokens, and of the answer's where they were drawn: equal where the same was answered to the same; 0: not told.
        max_tokens: tokens that the request asked for at most; 0 where it left that to the engine, and for VECTOR.
        prompt_class: what the caller gave as ``echoplane-class``; empty if nothing. Longer than 64 bytes: a digest of it.
    """

    version: VersionKey
    ended_s: float
    kind: TraceKind
    prompt_tokens: int
    log_probabilities: npt.NDArray[np.float32]
    entropies: npt.NDArray[np.float32]
    positions: npt.NDArray[np.int32]
    features: npt.NDArray[np.float32]
    flags: TraceFlag = TraceFlag.NONE
    conversation: str = ""
    probe: bool = False
    digest: int = 0
    max_tokens: int = 0
    prompt_class: str = ""

    @property
    def sound(self) -> bool:
        """Whether nothing was wrong with the telemetry."""
        return not self.flags & UNSOUND

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return int(self.log_probabilities.nbytes + self.entropies.nbytes + self.positions.nbytes + self.features.nbytes)


class TraceSource(Protocol):
    """The versions' telemetry, for one reader.

    Each version keeps the same number of traces and drops its oldest beyond it.
    """

    def traces(self, version: VersionKey) -> tuple[RequestTrace, ...]:
        """Return what came since the last call, in the order of arrival, and forget it.

        Probes of the daemon's own are not among it.
        """
        ...

    def dropped_count(self, version: VersionKey) -> int:
        """Return how many traces of a version were dropped since the daemon started.

        Here or in the version's workers.
        """
        ...


@dataclass(frozen=True, slots=True)
class TraceCounts:
    """Traces of one version, counted since the daemon started.

    Attributes:
        received: traces that came from workers, those of probes among them.
        dropped: traces that no reader will see, dropped here or in the workers.
    """

    received: int = 0
    dropped: int = 0
