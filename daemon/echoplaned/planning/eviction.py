"""Which models leave memory when another one needs it.

Bytes are bytes, times are seconds; the clock is the caller's.

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
    """A model in memory.

    Attributes:
        model_id: unique name.
        bytes: memory that its eviction frees.
        reload_s: seconds to bring it back.
        since_s: when it came, seconds on the caller's clock.
        pinned: whether a caller said that it stays; such a model never goes.
        serving: whether it answers requests now; such a model never goes.
    """

    model_id: str
    bytes: int
    reload_s: float
    since_s: float
    pinned: bool = False
    serving: bool = False


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A model that needs room in memory.

    Attributes:
        model_id: its name.
        lacking_bytes: what it needs beyond what is free, bytes.
        reload_s: seconds of its load.
        required: whether a caller asked for it, so that it comes in whatever it is worth.
    """

    model_id: str
    lacking_bytes: int
    reload_s: float
    required: bool = True


@dataclass(frozen=True, slots=True)
class EvictionRules:
    """What keeps two models from pushing each other out in turn.

    Attributes:
        min_residency_s: seconds; who came less than this ago stays.
        advantage: how many times the worth of those it pushes out a newcomer that is not required must have; at least 1.
    """

    min_residency_s: float = 60.0
    advantage: float = 1.2


@dataclass(frozen=True, slots=True)
class Eviction:
    """The decision which models leave for a newcomer.

    Attributes:
        model_ids: models that leave, the least valuable first; None: none may, and the newcomer has no room.
        cost: expected seconds of reload per second while they are away, at least 0.
        worth: the same of a newcomer that was refused as worth too little; else 0.
        missing_bytes: bytes that would be missing even if all left that may; else 0.
    """

    model_ids: tuple[str, ...] | None
    cost: float
    worth: float
    missing_bytes: int


class Usage:
    """How often each model is used, counted over four decaying horizons side by side.

    The horizons are 1, 8, 64 and 512 half-lives.
    """

    __slots__ = ("_native",)

    def __init__(self, half_life_s: float = DEFAULT_HALF_LIFE_S) -> None:
        """Start with no uses counted.

        Args:
            half_life_s: half-life of the shortest horizon, seconds.
        """
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
        """Choose the models that leave for a newcomer.

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
