"""Requests that are drawn rather than served: two channels that follow their own past, as log-probability and entropy do."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from echoplaned.core.ids import VersionKey
from echoplaned.gates.echo import features, live
from echoplaned.gates.echo.features import Network
from echoplaned.gates.echo.live import LiveEvidence
from echoplaned.gates.echo.sequences import AnswerSequence, sequence_of
from echoplaned.ports.traces import RequestTrace, TraceFlag, TraceKind

OLD, NEW = VersionKey("m", "v1"), VersionKey("m", "v2")


def tokens(rng: np.random.Generator, count: int, *, shift: float = 0.0, memory: float = 0.5) -> NDArray[np.float32]:
    """Draw one request's channels, shape (count, 2)."""
    noise = rng.standard_normal((count, 2))
    values = np.zeros((count, 2))
    for step in range(count):
        before = values[step - 1] if step else np.zeros(2)
        values[step] = memory * before + noise[step]
    return np.asarray(np.stack([values[:, 0] - 3.0 + shift, values[:, 1] + 4.0], axis=1), dtype=np.float32)


def sequence(rng: np.random.Generator, *, shift: float = 0.0, memory: float = 0.5) -> AnswerSequence:
    """Draw one request of 8 to 24 tokens."""
    count = int(rng.integers(8, 25))
    return AnswerSequence(tokens(rng, count, shift=shift, memory=memory), np.ones(count))


def learnt(evidence: LiveEvidence, sequences: tuple[AnswerSequence, ...]) -> LiveEvidence:
    """Gather requests of the old version, and fit the listeners where they are enough."""
    gathered = live.calibrate(evidence, sequences)
    return live.use_model(gathered, features.fit(gathered.to_fit, Network())) if gathered.to_fit else gathered


def trace(
    version: VersionKey = OLD,
    *,
    count: int = 3,
    flags: TraceFlag = TraceFlag.NONE,
    conversation: str = "",
    prompt: int = 5,
    asked: int = 0,
    prompt_class: str = "",
) -> RequestTrace:
    """Return a trace of tokens with fixed numbers."""
    return RequestTrace(
        version,
        ended_s=1.0,
        kind=TraceKind.TOKENS,
        prompt_tokens=prompt,
        log_probabilities=np.full(count, -1.0, dtype=np.float32),
        entropies=np.full(count, 2.0, dtype=np.float32),
        positions=np.arange(count, dtype=np.int32) * 2,
        features=np.zeros(0, dtype=np.float32),
        flags=flags,
        conversation=conversation,
        max_tokens=asked,
        prompt_class=prompt_class,
    )


__all__ = ["NEW", "OLD", "learnt", "sequence", "sequence_of", "tokens", "trace"]
