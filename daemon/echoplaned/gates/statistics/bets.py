"""A test martingale that bets on error ratios.

It keeps capital back for a change that comes late.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

RATIOS = (2.0, 5.0, 20.0, 100.0)
"""How many times likelier an error is at the new version, under the alternatives that are bet on."""

FIRST_STAKE = 0.9
"""Part of the capital that is bet from the first request on."""


def log_factors(hits: int, trials: int, chance: float) -> tuple[float, ...]:
    """Return, for each ratio r, ``ln(r^hits / (1 - chance + chance * r)^trials)``.

    If ``hits`` is binomial with ``trials`` and any probability of at most ``chance``, the factor's expectation is at most 1:
    ``E[r^hits] = (1 - p + p r)^trials``. By Hoeffding (1963, theorem 4) the same holds when the hits are drawn without replacement,
    ``hits`` hypergeometric with mean ``trials * chance``, because ``x -> r^x`` is convex.
    """
    return tuple(hits * math.log(r) - trials * math.log1p(chance * (r - 1.0)) for r in RATIOS)


def log_sum(terms: tuple[float, ...]) -> float:
    """Return ``ln(sum(exp(t)))`` without overflow; minus infinity for nothing."""
    top = max(terms, default=-math.inf)
    if math.isinf(top):
        return top
    return top + math.log(math.fsum(math.exp(t - top) for t in terms))


@dataclass(frozen=True, slots=True)
class Bets:
    """Capital in each ratio and in cash; begins at 1 in total.

    Healthy traffic eats up what is bet, so a failure that begins in a late stage would have to win it all back first. Therefore
    only ``FIRST_STAKE`` is bet at first, and start number s > 1 bets another ``(1 - FIRST_STAKE) / (s (s - 1))`` of the
    initial capital, split evenly. Moving cash into bets at times that do not look ahead leaves a supermartingale a
    supermartingale: this is one mixture over the time at which the change comes, never a reset.

    Attributes:
        log_capital: natural logarithm of the capital in each ratio, in the order of ``RATIOS``; minus infinity before the first stake.
        starts: how many stakes were bet, from 0.
        log_e: natural logarithm of the whole capital, cash included, which is the e-value.
    """

    log_capital: tuple[float, ...] = (-math.inf,) * len(RATIOS)
    starts: int = 0
    log_e: float = 0.0

    def stake_next(self) -> Bets:
        """Put the next stake on all ratios."""
        number = self.starts + 1
        stake = FIRST_STAKE if number == 1 else (1.0 - FIRST_STAKE) / (number * (number - 1))
        log_stake = math.log(stake / len(RATIOS))
        return _bets(tuple(log_sum((capital, log_stake)) for capital in self.log_capital), number)

    def grow(self, factors: tuple[float, ...]) -> Bets:
        """Multiply each ratio's capital by its factor, given as a logarithm."""
        return _bets(tuple(c + f for c, f in zip(self.log_capital, factors, strict=True)), self.starts)


def _bets(log_capital: tuple[float, ...], starts: int) -> Bets:
    cash = 1.0 if starts == 0 else (1.0 - FIRST_STAKE) / starts
    return Bets(log_capital, starts, log_sum((*log_capital, math.log(cash))))
