"""One row of a request on its way through the inference thread, and what comes back for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echoplaned.worker.errors import CallError


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen. ``temperature`` 0 is greedy; ``top_k`` 0 keeps all; ``seed`` None draws a fresh one."""

    max_tokens: int = 16
    temperature: float = 0.0
    top_k: int = 0
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Vector:
    """The finished answer of an encoder for one sequence: FP32, [width]."""

    values: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Token:
    """One generated token. ``logprob``: natural log of its probability before temperature and top_k. ``last``: none follows."""

    token_id: int
    logprob: float
    last: bool


@dataclass(frozen=True, slots=True)
class Failure:
    """The sequence ended without an answer."""

    error: CallError


Outcome = Vector | Token | Failure


class Sequence:
    """One row of a request.

    Args:
        token_ids: the row's tokens.
        sampling: how to generate; of no meaning to encoders.
        listener: called on the event loop with each outcome; never after ``cancel``.
    """

    __slots__ = ("_listener", "cancelled", "sampling", "token_ids")

    def __init__(self, token_ids: list[int], sampling: Sampling, listener: Callable[[Outcome], None]) -> None:
        self.token_ids = token_ids
        self.sampling = sampling
        self.cancelled = False
        self._listener = listener

    def cancel(self) -> None:
        """Ask the inference thread to drop the row; a plain flag, read between steps."""
        self.cancelled = True

    def tell(self, outcome: Outcome) -> None:
        """Hand an outcome to whoever waits, unless nobody does any more. Event loop only."""
        if not self.cancelled:
            self._listener(outcome)


Told = tuple[Sequence, Outcome]
