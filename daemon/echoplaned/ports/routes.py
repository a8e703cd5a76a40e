"""The xDS side of the daemon, as the loop sees it."""

from __future__ import annotations

from typing import Protocol

from echoplaned.core.effects import PublishRoutes


class Routes(Protocol):
    """The xDS side of the daemon."""

    def publish(self, effect: PublishRoutes) -> None:
        """Publish one model's routes.

        Answers RoutesProgressed whenever that changes, RoutesRefused when refused.
        """
        ...

    def open(self) -> None:
        """Begin to answer streams: the whole recovered state is published."""
        ...

    def remove(self, model: str) -> None:
        """Drop what is left of a deleted model."""
        ...
