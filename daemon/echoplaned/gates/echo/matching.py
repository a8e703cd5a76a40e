"""Requests of both versions to pairs: of one stratum, each with the newest that waits.

A request goes with the newest one of the other version that waits in its stratum. Of the busier version more requests wait than find a
partner; one that has waited long was asked when traffic was another, and then equal versions differ (``docs/drift.md``). Where canaries
are sticky the requests of a conversation are not independent: only the first one of each counts. A request whose telemetry is damaged
takes its partner with it, so that what is lost does not depend on what the other version said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from echoplaned.gates.echo.sequences import Sequence

MOST_WAITING = 16
"""Requests of one version that wait in a stratum; the oldest gives way."""

MOST_STRATA = 256
"""Strata in which requests wait; whoever waits in the one that was begun first gives way."""

MOST_CONVERSATIONS = 100_000
"""Conversations that are remembered; once as many have been seen, requests of new ones are left out."""


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One request. ``sequence``: None where its telemetry is damaged. ``conversation``: empty for none."""

    is_new: bool
    stratum: str
    sequence: Sequence | None
    conversation: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A request of each version."""

    new: Sequence
    old: Sequence


@dataclass(frozen=True, slots=True, eq=False)
class Waiting:
    """Requests without a partner, by stratum: all of one version. ``void``: pairs that were dropped for one side's telemetry."""

    queues: Mapping[str, tuple[Request, ...]] = field(default_factory=lambda: MappingProxyType({}))
    conversations: frozenset[str] = frozenset()
    pairs: int = 0
    void: int = 0

    @property
    def count(self) -> int:
        """Requests that wait."""
        return sum(map(len, self.queues.values()))


def match(waiting: Waiting, requests: tuple[Request, ...]) -> tuple[Waiting, tuple[Pair, ...]]:
    """Take requests in, in their order; return the pairs that they complete, and who waits now."""
    queues = dict(waiting.queues)
    conversations = set(waiting.conversations)
    pairs: list[Pair] = []
    void = 0
    for request in requests:
        if request.conversation:
            if request.conversation in conversations or len(conversations) >= MOST_CONVERSATIONS:
                continue
            conversations.add(request.conversation)
        queue = queues.get(request.stratum, ())
        if not queue or queue[0].is_new == request.is_new:
            if not queue and len(queues) >= MOST_STRATA:
                del queues[next(iter(queues))]
            queues[request.stratum] = (*queue, request)[-MOST_WAITING:]
            continue
        partner, rest = queue[-1], queue[:-1]
        if rest:
            queues[request.stratum] = rest
        else:
            del queues[request.stratum]
        new, old = (request, partner) if request.is_new else (partner, request)
        if new.sequence is None or old.sequence is None:
            void += 1
        else:
            pairs.append(Pair(new.sequence, old.sequence))
    now = replace(
        waiting,
        queues=MappingProxyType(queues),
        conversations=frozenset(conversations),
        pairs=waiting.pairs + len(pairs),
        void=waiting.void + void,
    )
    return now, tuple(pairs)


def emptied(waiting: Waiting) -> Waiting:
    """Send everybody who waits away: telemetry was lost, or the shares changed; what was seen of conversations stays."""
    return replace(waiting, queues=MappingProxyType({}))
