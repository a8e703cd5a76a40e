"""Which models leave memory when another one needs it. Bytes are bytes, times are seconds; the clock is the caller's.

A model is worth what its absence would cost: expected uses per second times the seconds of its reload. Those go that are worth
least together and free enough. A serving or pinned model never goes, nor one that came a moment ago, and a newcomer that is not
required has to be worth clearly more than what it pushes out: so two models do not push each other out in turn.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from echoplaned import _allocator
from echoplaned.planning._translate import translate_errors

_MS_PER_S = 1000
DEFAULT_HALF_LIFE_S = 600.0


@dataclass(frozen=True, slots=True)
class Resident:
    """A model in memory. ``reload_s``: seconds to bring it back. ``since_s``: when it came, on the caller's clock."""

    model_id: str
    bytes: int
    reload_s: float
    since_s: float
    pinned: bool = False
    serving: bool = False


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A model that wants room.

    ``lacking_bytes``: what it needs beyond what is free. ``reload_s``: seconds of its load. ``required``: a caller asked for it,
    so it comes in whatever it is worth.
    """

    model_id: str
    lacking_bytes: int
    reload_s: float
    required: bool = True


@dataclass(frozen=True, slots=True)
class EvictionRules:
    """``min_residency_s``: who came less than this ago stays. ``advantage``: a newcomer's worth by that of its victims, >= 1."""

    min_residency_s: float = 60.0
    advantage: float = 1.2


@dataclass(frozen=True, slots=True)
class Eviction:
    """What was decided.

    Attributes:
        model_ids: who goes, the least valuable first; None: nobody, and the newcomer has no room.
        cost: expected seconds of reload per second while they are away.
        worth: the same of a newcomer that was refused as worth too little; else 0.
        missing_bytes: what would be missing even if all went that may; else 0.
    """

    model_ids: tuple[str, ...] | None
    cost: float
    worth: float
    missing_bytes: int


class Usage:
    """How often each model is used, forgotten over four horizons (1, 8, 64 and 512 half-lives) side by side."""

    __slots__ = ("_native",)

    def __init__(self, half_life_s: float = DEFAULT_HALF_LIFE_S) -> None:
        """Start with nothing seen. ``half_life_s``: of the shortest horizon."""
        self._native = _allocator.Usage(_ms(half_life_s))

    def record(self, model_id: str, *, now_s: float, uses: int = 1) -> None:
        """Count uses of a model."""
        self._native.record(model_id, uses, _ms(now_s))

    def rate(self, model_id: str, *, now_s: float) -> float:
        """Return the expected uses per second."""
        return self._native.rate(model_id, _ms(now_s))

    def prune(self, *, now_s: float, least_uses: float = 0.001) -> int:
        """Drop models whose uses have all but faded; return how many."""
        return self._native.forget(least_uses, _ms(now_s))

    def choose(
        self, residents: Iterable[Resident], newcomer: Newcomer, *, now_s: float, rules: EvictionRules = EvictionRules()
    ) -> Eviction:
        """Choose who goes for a newcomer.

        Raises:
            FieldInvalidError: two residents of one name, or an advantage that is no number from 1.
        """
        native = (newcomer.model_id, newcomer.lacking_bytes, _ms(newcomer.reload_s), newcomer.required)
        natives = [
            (one.model_id, one.bytes, _ms(one.reload_s), _ms(one.since_s), one.pinned, one.serving) for one in residents
        ]
        with translate_errors():
            found = self._native.choose(natives, native, _ms(rules.min_residency_s), rules.advantage, _ms(now_s))
        model_ids, cost, worth, missing_bytes = found
        return Eviction(None if model_ids is None else tuple(model_ids), cost, worth, missing_bytes)


def _ms(seconds: float) -> int:
    return round(seconds * _MS_PER_S)
