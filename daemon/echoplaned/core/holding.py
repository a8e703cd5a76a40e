"""A stop that is held back for a moment, so that calls in flight may end.

A process that is stuck, or answers wrongly, is taken out of the routes at once and ended a moment later. Its end cuts every call that
is in flight. Stuck is not dead: what it holds may still be answered, and a client that has not taken the new routes in yet still calls
it.
"""

from __future__ import annotations

from typing import Final

from echoplaned.core.state import Instance, Model

CALLS_S: Final = 5.0
"""Calls in flight have so long from the moment in which the instance left the routes."""

MAX_HOLD_S: Final = 10.0
"""Whatever is in flight, and whoever has not acknowledged the routes: a process that is of no use holds memory."""


def is_held(instance: Instance, now_s: float) -> bool:
    """Whether the end of a stopping instance's process is held back."""
    return instance.held_since_s is not None and now_s < instance.held_since_s + MAX_HOLD_S


def may_be_called(model: Model) -> bool:
    """Whether somebody may still follow routes that name a model's lost instance.

    That is one which is not READY any more.
    """
    return model.routes is not None and not model.progress.acknowledged
