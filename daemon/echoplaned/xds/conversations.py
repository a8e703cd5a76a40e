"""Counts requests of conversations that the same version had answered before.

It is a ``ConversationSource`` for the gates. Nothing but a hash of a conversation's name is kept, and only while somebody follows the
model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from echoplaned.core.ids import VersionKey
from echoplaned.ports.conversations import Repeated
from echoplaned.ports.request_counts import NOTHING, RequestCounts

CONVERSATION_HEADER: Final = "x-conversation-id"
"""A caller's own name of a conversation: its requests stay with one version."""

CONVERSATION: Final = "echoplane.conversation"
USER: Final = "user"
"""Where the gateway's metadata of a request has the body's ``user``, which stands for a conversation without a name of its own."""

KNOWN_FOR_S: Final = 600.0
"""After its last request of a conversation a model counts as one that has them for so long, and is followed after the last question."""

MAX_CONVERSATIONS: Final = 50_000
"""Of one model that are remembered; beyond these, the one that has been silent longest is forgotten."""

MAX_MODELS: Final = 10_000
"""Models of which it is known whether they have conversations."""


@dataclass(slots=True)
class _Followed:
    """A model of whose conversations somebody wants to know.

    Attributes:
        asked_s: when somebody asked last.
        window: number of the present window, from 1.
        answered: the window of its last answer, by version and hash of the conversation, the longest silent first.
        repeated: running totals by version.
    """

    asked_s: float
    window: int = 1
    answered: dict[tuple[str, int], int] = field(default_factory=dict)
    repeated: dict[str, Repeated] = field(default_factory=dict)


class ConversationLedger:
    """Follows the conversations of models with a rollout.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last_s: dict[str, float] = {}
        self._followed: dict[str, _Followed] = {}

    def add(self, version: VersionKey, conversation: str, ended: RequestCounts, *, left: bool = False) -> None:
        """Note one request of a conversation.

        ``ended``: a one where it belongs; nothing where it says nothing of the version. ``left``: its caller did not wait for the answer.
        """
        now_s = self._clock()
        self._note(version.model, now_s)
        followed = self._followed.get(version.model)
        if followed is None or not ended.requests:
            return
        if now_s - followed.asked_s > KNOWN_FOR_S:
            del self._followed[version.model]
            return
        key = (version.version, hash(conversation))
        answered = followed.answered.pop(key, None)
        followed.answered[key] = followed.window
        if len(followed.answered) > MAX_CONVERSATIONS:
            del followed.answered[next(iter(followed.answered))]
        if answered is not None:
            before = followed.repeated.get(version.version, Repeated())
            window, rollout = (ended, NOTHING) if answered == followed.window else (NOTHING, ended)
            more = Repeated(NOTHING, NOTHING, window, rollout) if left else Repeated(window, rollout)
            followed.repeated[version.version] = before + more

    def begin_rollout(self, model: str) -> None:
        """Forget the conversations that a model's versions have answered.

        And those of other models that nobody has asked for in ``KNOWN_FOR_S``.
        """
        now_s = self._clock()
        for each in [model for model, known in self._followed.items() if now_s - known.asked_s > KNOWN_FOR_S]:
            del self._followed[each]
        self._followed[model] = _Followed(now_s)

    def begin_window(self, model: str) -> None:
        """Begin a window: the next request of every conversation is its first one."""
        followed = self._followed.get(model)
        if followed is not None:
            followed.window += 1

    def has_conversations(self, model: str) -> bool:
        """Whether a model has had a request of a conversation in the last ``KNOWN_FOR_S``."""
        last_s = self._last_s.get(model)
        return last_s is not None and self._clock() - last_s <= KNOWN_FOR_S

    def repeated(self, version: VersionKey) -> Repeated:
        """Return the running totals of a version."""
        followed = self._followed.get(version.model)
        if followed is None:
            return Repeated()
        followed.asked_s = self._clock()
        return followed.repeated.get(version.version, Repeated())

    def _note(self, model: str, now_s: float) -> None:
        self._last_s.pop(model, None)
        self._last_s[model] = now_s
        if len(self._last_s) > MAX_MODELS:
            del self._last_s[next(iter(self._last_s))]
