"""What is asked of each row of a request."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen. ``temperature`` 0 is greedy; ``top_k`` 0 keeps all; ``seed`` None draws a fresh one."""

    max_tokens: int = 16
    temperature: float = 0.0
    top_k: int = 0
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Scoring:
    """Score the tokens as they stand and generate none. ``distributions``: the dtype to give the whole distributions in; None: not."""

    distributions: type[np.float32 | np.float16] | None = None
