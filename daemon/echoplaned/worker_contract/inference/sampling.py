"""What is asked of each row of a request."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen.

    Attributes:
        max_tokens: tokens to generate at most, from 1; 0: as many as the default and the context allow.
        temperature: divisor of the logits, 0 to 100; 0: greedy.
        top_k: number of the likeliest tokens to draw from; 0: all.
        seed: seed of the random source, 0 to 2**63 - 1; None: a fresh one is drawn.
        top_p: probability that the kept tokens have together at least, above 0 and up to 1.
        frequency_penalty: taken off a token's logit for each time that the answer holds it already.
        presence_penalty: taken off a token's logit once if the answer holds it already.
        top_logprobs: how many of the likeliest tokens are told beside each chosen one.
    """

    max_tokens: int = 16
    temperature: float = 0.0
    top_k: int = 0
    seed: int | None = None
    top_p: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    top_logprobs: int = 0

    @property
    def penalises(self) -> bool:
        """Whether what the answer holds already changes what follows."""
        return self.frequency_penalty != 0 or self.presence_penalty != 0


@dataclass(frozen=True, slots=True)
class Scoring:
    """Score the tokens as they stand and generate none.

    Attributes:
        distributions: dtype to give the whole distributions in; None: they are not given.
    """

    distributions: type[np.float32 | np.float16] | None = None
