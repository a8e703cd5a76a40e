"""Matches requests of both versions to pairs.

Both are of one stratum, each with the newest that waits.

A request goes with the newest one of the other version that waits in its stratum. Of the busier version more requests wait than find a
partner; one that has waited long was asked when traffic was another, and then equal versions differ (``docs/drift.md``). Where canaries
are sticky the requests of a conversation are not independent: only the first one of each counts. A request whose telemetry is damaged
takes its partner with it, so that what is lost does not depend on what the other version said.

The same answer to the same text counts once, whichever version gave it. Asked again, a model that draws nothing says the same, but for
what a harmless re-quantisation changes in its last digits: bet on a second time, that would soon be certain, and it says nothing of how
large the change is. Whether a request is a repeat does not depend on which version answered, so the bets stay fair.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from echoplaned.gates.echo.sequences import AnswerSequence

MAX_WAITING = 16
"""Requests of one version that wait in a stratum; the oldest gives way."""

MAX_STRATA = 256
"""Strata in which requests wait; whoever waits in the one that was begun first gives way."""

MAX_DIGESTS = 100_000
"""Answers that are remembered; once as many were in pairs, no request whose answer is known by digest counts any more."""

MAX_CONVERSATIONS = 100_000
"""Conversations that are remembered; once as many have been seen, requests of new ones are left out."""


@dataclass(frozen=True, slots=True, eq=False)
class TracedRequest:
    """One live request, as it is matched.

    Attributes:
        is_new: whether the new version answered it.
        stratum: name of the requests that it may be paired with.
        sequence: what was measured of its answer; None where its telemetry is damaged.
        conversation: id of its conversation; empty for none.
    """

    is_new: bool
    stratum: str
    sequence: AnswerSequence | None
    conversation: str = ""

    @property
    def digest(self) -> int:
        """Equal where the same was answered to the same; 0: not known."""
        return self.sequence.digest if self.sequence is not None else 0


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A request of each version, matched by stratum.

    Attributes:
        new: what was measured of the new version's answer.
        old: what was measured of the old version's answer.
    """

    new: AnswerSequence
    old: AnswerSequence


@dataclass(frozen=True, slots=True, eq=False)
class Waiting:
    """Requests without a partner, and what was seen before.

    Attributes:
        queues: the requests by stratum, the oldest first; in a stratum all are of one version.
        conversations: ids of the conversations that were seen, at most ``MAX_CONVERSATIONS``.
        digests: digests of the answers that were in a pair.
        pairs: pairs that were made, from 0.
        void: pairs that were dropped for one side's telemetry, from 0.
        repeats: requests that were left out, as their answer was in a pair or waits for one, from 0.
    """

    queues: Mapping[str, tuple[TracedRequest, ...]] = field(default_factory=lambda: MappingProxyType({}))
    conversations: frozenset[str] = frozenset()
    digests: frozenset[int] = frozenset()
    pairs: int = 0
    void: int = 0
    repeats: int = 0

    @property
    def count(self) -> int:
        """Requests that wait."""
        return sum(map(len, self.queues.values()))


def match(waiting: Waiting, requests: tuple[TracedRequest, ...]) -> tuple[Waiting, tuple[Pair, ...]]:
    """Add requests in their order, and match them.

    Returns who waits now, and the pairs that the requests complete.
    """
    matcher = _Matcher(waiting)
    for request in requests:
        matcher.take(request)
    return matcher.now(), tuple(matcher.pairs)


class _Matcher:
    """The state of one call of `match`, which changes in place."""

    def __init__(self, waiting: Waiting) -> None:
        self._before = waiting
        self._queues = dict(waiting.queues)
        self._conversations = set(waiting.conversations)
        self._digests = set(waiting.digests)
        self._waits = {digest for queue in self._queues.values() for request in queue if (digest := request.digest)}
        self._void = 0
        self._repeats = 0
        self.pairs: list[Pair] = []

    def take(self, request: TracedRequest) -> None:
        """Pair a request, let it wait, or leave it out."""
        if self._is_repeat(request) or self._is_known(request.conversation):
            return
        queue = self._queues.get(request.stratum, ())
        if queue and queue[0].is_new != request.is_new:
            self._pair(request, queue[-1])
            self._keep(request.stratum, queue[:-1])
        else:
            self._keep(request.stratum, (*queue, request)[-MAX_WAITING:])

    def now(self) -> Waiting:
        """Return who waits."""
        return replace(
            self._before,
            queues=MappingProxyType(self._queues),
            conversations=frozenset(self._conversations),
            digests=frozenset(self._digests),
            pairs=self._before.pairs + len(self.pairs),
            void=self._before.void + self._void,
            repeats=self._before.repeats + self._repeats,
        )

    def _is_repeat(self, request: TracedRequest) -> bool:
        """Return whether an answer was in a pair or waits for one.

        It is decided before the request can take another's partner away.
        """
        digest = request.digest
        known = digest in self._digests or digest in self._waits or len(self._digests) >= MAX_DIGESTS
        self._repeats += digest != 0 and known
        return digest != 0 and known

    def _is_known(self, conversation: str) -> bool:
        """Say whether a conversation has had its turn, and remember it."""
        if not conversation:
            return False
        if conversation in self._conversations or len(self._conversations) >= MAX_CONVERSATIONS:
            return True
        self._conversations.add(conversation)
        return False

    def _pair(self, request: TracedRequest, partner: TracedRequest) -> None:
        new, old = (request, partner) if request.is_new else (partner, request)
        if new.sequence is None or old.sequence is None:
            self._void += 1
            return
        self._digests |= {new.digest, old.digest} - {0}
        self.pairs.append(Pair(new.sequence, old.sequence))

    def _keep(self, stratum: str, queue: tuple[TracedRequest, ...]) -> None:
        """Let these wait in a stratum and nobody else."""
        gone = self._queues.pop(stratum, ()) if not queue else self._queues.get(stratum, ())
        if queue and stratum not in self._queues and len(self._queues) >= MAX_STRATA:
            gone = (*gone, *self._queues.pop(next(iter(self._queues))))
        if queue:
            self._queues[stratum] = queue
        self._waits -= {request.digest for request in gone}
        self._waits |= {request.digest for request in queue} - {0}


def empty(waiting: Waiting) -> Waiting:
    """Send everybody who waits away.

    Telemetry was lost, or the shares changed; what was seen of conversations and answers stays.
    """
    return replace(waiting, queues=MappingProxyType({}))
