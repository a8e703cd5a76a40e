"""Requests of conversations, which are not independent of each other.

The gateway keeps a conversation at one version. What its requests say of that version is one draw, however many they are: a hundred
errors of one conversation may be one prompt that fails anywhere, and a hundred requests that miss a version one conversation that is not
there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from echoplaned.core.ids import VersionKey
from echoplaned.ports.request_counts import NOTHING, RequestCounts


@dataclass(frozen=True, slots=True)
class Repeated:
    """One version's requests that were not the first of their conversation.

    Running totals by how the requests ended.

    Attributes:
        in_window: not the first one in its window.
        in_rollout: the first one in its window, but not in the rollout.
        left_in_window: like ``in_window``, of those that their caller left: the engine counts them as a caller's mistake, and the
            gateway's own load reports do not count them.
        left_in_rollout: like ``in_rollout``, of those that their caller left.
    """

    in_window: RequestCounts = NOTHING
    in_rollout: RequestCounts = NOTHING
    left_in_window: RequestCounts = NOTHING
    left_in_rollout: RequestCounts = NOTHING

    def __add__(self, other: Repeated) -> Repeated:
        """Add total by total."""
        return Repeated(
            self.in_window + other.in_window,
            self.in_rollout + other.in_rollout,
            self.left_in_window + other.left_in_window,
            self.left_in_rollout + other.left_in_rollout,
        )

    def since(self, earlier: Repeated) -> Repeated:
        """Return what came on top of earlier totals."""
        return Repeated(
            self.in_window.since(earlier.in_window),
            self.in_rollout.since(earlier.in_rollout),
            self.left_in_window.since(earlier.left_in_window),
            self.left_in_rollout.since(earlier.left_in_rollout),
        )

    @property
    def is_empty(self) -> bool:
        """Whether there was no request."""
        parts = (self.in_window, self.in_rollout, self.left_in_window, self.left_in_rollout)
        return not any(part.requests for part in parts)


class ConversationSource(Protocol):
    """Tells how many requests were not the first of their conversation."""

    def begin_rollout(self, model: str) -> None:
        """Forget the conversations that a model's versions have answered."""
        ...

    def begin_window(self, model: str) -> None:
        """Begin a window: the next request of every conversation is its first one."""
        ...

    def has_conversations(self, model: str) -> bool:
        """Whether a model has had a request of a conversation in the last minutes."""
        ...

    def repeated(self, version: VersionKey) -> Repeated:
        """Return the running totals of a version.

        A model that nobody asks about for some minutes is not followed any more.
        """
        ...
