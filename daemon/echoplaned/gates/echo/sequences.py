"""A request as the live test sees it.

It has channels by token, or the moments of an output.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from echoplaned.ports.traces import RequestTrace, TraceFlag, TraceKind

CHANNELS = 2
"""Log-probability of the chosen token and entropy, both in nats."""

MAX_TOKENS = 256
"""Of a longer answer the first ones are listened to."""

PROMPT_CLASSES = 32
"""Kinds of request that are kept apart at most."""

_LENGTH_CLASSES = (16, 64, 256, 1024)
_NO_TOKENS = np.zeros((0, CHANNELS), dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class AnswerSequence:
    """What was measured of the answer to one request.

    Attributes:
        tokens: channels of each token, shape (tokens, channels); empty for an output.
        dt: tokens since the one before, shape (tokens,).
        output: moments of an output, shape (values,); empty for tokens.
        stopped: 1 if the model ended the answer itself, else 0.
        digest: a number that is equal where the same was answered to the same text; 0: not known.
    """

    tokens: NDArray[np.float32] = field(default_factory=lambda: _NO_TOKENS)
    dt: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    output: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    stopped: float = 0.0
    digest: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing was measured."""
        return len(self.tokens) == 0 and self.output.size == 0


def sequence_of(trace: RequestTrace) -> AnswerSequence:
    """Return what a trace measured."""
    if trace.kind is TraceKind.VECTOR:
        return AnswerSequence(output=trace.features, digest=trace.digest)
    tokens = np.stack([trace.log_probabilities, trace.entropies], axis=1).astype(np.float32)[:MAX_TOKENS]
    positions = trace.positions.astype(np.float64)[:MAX_TOKENS]
    dt = np.diff(positions, prepend=positions[:1] - 1.0)
    return AnswerSequence(tokens, dt, stopped=float(bool(trace.flags & TraceFlag.STOPPED)), digest=trace.digest)


def stratum_of(trace: RequestTrace) -> str:
    """Name the requests that a request may be paired with.

    These are those of one kind that asked for the same in about the same length.

    Only what was fixed before a version answered may enter: how long the answer became is behaviour.
    """
    lengths = (sum(tokens > bound for bound in _LENGTH_CLASSES) for tokens in (trace.prompt_tokens, trace.max_tokens))
    drawn = "drawn" if trace.flags & TraceFlag.SAMPLED else "greedy"
    # Callers may name more kinds than there can be strata of.
    kind = zlib.crc32(trace.prompt_class.encode()) % PROMPT_CLASSES if trace.prompt_class else ""
    return "/".join((trace.kind.value, drawn, *map(str, lengths), str(kind)))
