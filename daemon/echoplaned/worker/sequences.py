"""One row of a request on its way through the inference thread, and what comes back for it."""

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
    """The finished answer of an encoder for one sequence: FP32, [width]."""

    values: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Token:
    """One generated token.

    ``logprob``: natural log of its probability before temperature and top_k. ``last``: none follows. ``entropy``: of the
    distribution that it was chosen from, before temperature and top_k, in nats; 0 in a sequence that is not traced.
    ``stopped``: it is the model's own sign for the end.
    """

    token_id: int
    logprob: float
    last: bool
    entropy: float = 0.0
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Scored:
    """Every token of a sequence but the first, given those before it.

    ``logprobs``: FP32 [tokens - 1]. ``distributions``: FP32 or FP16 [tokens - 1, vocabulary]; None: not asked for.
    """

    logprobs: npt.NDArray[np.float32]
    distributions: npt.NDArray[np.float32 | np.float16] | None = None


@dataclass(frozen=True, slots=True)
class RowFailure:
    """The sequence ended without an answer."""

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
