"""The I/O beside the pure gates.

Collectors gather what gates observe, and do what gates ask for.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Protocol

from echoplaned.core.ids import VersionKey
from echoplaned.core.rollout_state import Rollout
from echoplaned.core.state import Model
from echoplaned.gates.gate import Ask, Observation
from echoplaned.ports.emit import Clock, Emit

Job = Callable[[], Coroutine[object, object, None]]
"""Makes a coroutine that runs until it is cancelled; it may be begun again later."""


@dataclass(frozen=True, slots=True)
class RolloutContext:
    """One rollout, as its collectors see it.

    Attributes:
        model: the model when the rollout was first judged.
        rollout: the rollout then.
        current: returns both as they are now; None: the rollout is over, or on its way back.
        clock: seconds since the epoch.
        emit: takes events for the loop.
        wake: has the window judged at once: something came that may decide it.
    """

    model: Model
    rollout: Rollout
    current: Callable[[], tuple[Model, Rollout] | None]
    clock: Clock
    emit: Emit
    wake: Callable[[], None]

    @property
    def new(self) -> VersionKey:
        """The version that the rollout brings."""
        return VersionKey(self.rollout.model, self.rollout.to_version)

    @property
    def old(self) -> VersionKey:
        """The version that it replaces."""
        return VersionKey(self.rollout.model, self.rollout.from_version)


class Collector(Protocol):
    """Gathers a part of a rollout's observations.

    Every method is called on the event loop and returns at once.
    """

    def add_to(self, seen: Observation) -> Observation:
        """Add what came in since the last reading, and forget it."""
        ...

    def take(self, asks: tuple[Ask, ...]) -> None:
        """Take what the gates want done at present.

        It comes in place of what they wanted before; asks that are not known here are left out.
        """
        ...

    def enter(self) -> None:
        """Begin another window: what was asked for in the last one alone is void."""
        ...

    def jobs(self) -> Mapping[str, Job]:
        """Return what runs between two readings, by name; empty for nothing."""
        ...
