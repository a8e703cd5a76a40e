"""The longest context that fits, chosen where nobody asked for one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from echoplaned.planning.sizing import SizedModel

STEP_TOKENS: Final = 256
"""A context that was chosen is a multiple of this, or the longest, or the shortest that may be chosen."""


def choose_context(
    longest: SizedModel, least: int, size: Callable[[int], SizedModel], fits: Callable[[SizedModel], bool]
) -> SizedModel:
    """Return a model with the longest context that fits.

    Where none fits, it has the shortest context that may be chosen.

    Args:
        longest: with all that the checkpoint allows.
        least: the shortest, tokens; at most the longest.
        size: sizes the model with a context.
        fits: whether there is room for it, for all of its replicas; what does not fit does not fit when it is longer.
    """
    top = longest.shape.context_length
    if least >= top or fits(longest):
        return longest
    best = size(least)
    if not fits(best):
        return best
    # Between a number of steps that fits and one that does not.
    low, high = least // STEP_TOKENS, -(-top // STEP_TOKENS)
    while high - low > 1:
        middle = (low + high) // 2
        sized = size(middle * STEP_TOKENS)
        if fits(sized):
            low, best = middle, sized
        else:
            high = middle
    return best
