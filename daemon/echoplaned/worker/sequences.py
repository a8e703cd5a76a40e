"""One row of a request on its way through the inference thread.

And what comes back for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echoplaned.worker_contract.inference.errors import CallError
from echoplaned.worker_contract.inference.sampling import Sampling, Scoring

__all__ = [
    "Listener",
    "Outcome",
    "RowFailure",
    "RowOutcome",
    "Sampling",
    "Scored",
    "Scoring",
    "Token",
    "TokenSequence",
    "Vector",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Vector:
    """The finished answer of an encoder for one sequence.

    Attributes:
        values: text vector or class scores, FP32 [width].
    """

    values: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Token:
    """One generated token.

    Attributes:
        token_id: id of the token, 0 to the vocabulary's size - 1.
        logprob: natural log of its probability before temperature and top_k, 0 at most.
        last: whether no token follows.
        entropy: entropy of the distribution that it was chosen from, before temperature and top_k, nats, 0 or more;
            0 in a sequence that is not traced.
        stopped: whether it is one of the model's own signs for the end.
        alternatives: the likeliest tokens in its place with their log-probabilities, the likeliest first; none unless asked for.
    """

    token_id: int
    logprob: float
    last: bool
    entropy: float = 0.0
    stopped: bool = False
    alternatives: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Scored:
    """Every token of a sequence but the first, given those before it.

    Attributes:
        logprobs: natural logs of the tokens' probabilities, FP32 [tokens - 1].
        distributions: whole distributions, FP32 or FP16 [tokens - 1, vocabulary]; None: not asked for.
    """

    logprobs: npt.NDArray[np.float32]
    distributions: npt.NDArray[np.float32 | np.float16] | None = None


@dataclass(frozen=True, slots=True)
class RowFailure:
    """The sequence ended without an answer.

    Attributes:
        error: why, as the caller is told.
    """

    error: CallError


Outcome = Vector | Token | Scored | RowFailure
Listener = Callable[[Outcome], None]


class TokenSequence:
    """One row of a request.

    Args:
        token_ids: the row's tokens.
        sampling: how to generate; of no meaning to encoders.
        listener: called on the event loop with each outcome; never after ``cancel``.
        scoring: score the tokens instead of generating.
        traced: measure what telemetry needs beside the answer.
        as_int8: compute as the model in INT8 would.
        peer: the connection that it came on; connections take turns.
    """

    __slots__ = ("_listener", "as_int8", "cancelled", "peer", "sampling", "scoring", "token_ids", "traced")

    def __init__(
        self,
        token_ids: list[int],
        sampling: Sampling,
        listener: Listener,
        *,
        scoring: Scoring | None = None,
        traced: bool = False,
        as_int8: bool = False,
        peer: str = "",
    ) -> None:
        self.token_ids = token_ids
        self.sampling = sampling
        self.scoring = scoring
        self.traced = traced
        self.as_int8 = as_int8
        self.peer = peer
        self.cancelled = False
        self._listener = listener

    def cancel(self) -> None:
        """Ask the inference thread to drop the row; a plain flag, read between steps."""
        self.cancelled = True

    def deliver(self, outcome: Outcome) -> None:
        """Hand an outcome to whoever waits, unless nobody does any more. Event loop only."""
        if not self.cancelled:
            self._listener(outcome)


RowOutcome = tuple[TokenSequence, Outcome]
