"""Takes the repeated requests of conversations off what the sources counted.

A conversation stays with one version, so its requests are one draw and not many (``ports.conversations``); the statistics of the gates
take every request for a draw of its own. The gateway alone knows conversations, and tells of a request up to a second after it ended;
clients and workers may have counted it before. So where a model has conversations, what is counted waits for ``HOLD_S``.

What is not seen: errors inside a stream that began well. The gateway takes such a request for a good one, so each counts that the engine
counts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import Final

from echoplaned.core.ids import VersionKey
from echoplaned.ports.conversations import ConversationSource
from echoplaned.ports.request_counts import Interval, RequestCounts

HOLD_S: Final = 2.0
"""The gateway tells of a request a second after its end; the rest is for a busy machine."""

OWED_FOR_S: Final = 7.0
"""A repeated request that no source has counted for so long is waited for no more: it never reached an engine."""


@dataclass(frozen=True, slots=True)
class Independent:
    """What counts of what the sources counted, by source name.

    Attributes:
        intervals: of each conversation the first request in the window.
        draws: of each conversation the first request in the rollout.
    """

    intervals: dict[str, Interval]
    draws: dict[str, Interval]


@dataclass(slots=True)
class _Owed:
    """Repeated requests that one source's counts hold or will hold, told at one time.

    Attributes:
        told_s: when, in seconds since the epoch.
        in_window: those that are no first request in their window.
        in_rollout: those that are, and not in the rollout.
    """

    told_s: float
    in_window: RequestCounts
    in_rollout: RequestCounts


class ConversationFilter:
    """Lets one request of each conversation pass.

    Args:
        source: knows conversations.
        versions: the new one and the old one, of one model.
        classifying: names of sources that tell callers' mistakes from good answers; the gateway's own load reports do not.
    """

    def __init__(
        self, source: ConversationSource, versions: tuple[VersionKey, VersionKey], classifying: frozenset[str]
    ) -> None:
        self._source = source
        self._versions = versions
        self._classifying = classifying
        source.begin_rollout(self._model)
        self._told = {version: source.repeated(version) for version in versions}
        self._owed: dict[tuple[str, VersionKey], deque[_Owed]] = {}
        self._held: deque[tuple[float, dict[str, Interval]]] = deque()

    @property
    def _model(self) -> str:
        return self._versions[0].model

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to take off, or held back."""
        return bool(self._held) or self._source.has_conversations(self._model)

    def begin_window(self) -> None:
        """Begin a window: the next request of every conversation is its first one."""
        self._source.begin_window(self._model)

    def take_off(self, now_s: float, counted: Mapping[str, Interval]) -> Independent:
        """Return what counts now of what was counted until now.

        Args:
            now_s: seconds since the epoch.
            counted: what each source counted since the last time, by its name.
        """
        self._held.append((now_s, dict(counted)))
        self._hear(now_s, counted)
        hold_s = HOLD_S if self._source.has_conversations(self._model) else 0.0
        due: list[dict[str, Interval]] = []
        while self._held and now_s - self._held[0][0] >= hold_s:
            due.append(self._held.popleft()[1])
        found = Independent({}, {})
        for name in counted:
            total = reduce(add, (each[name] for each in due if name in each), Interval())
            found.intervals[name], found.draws[name] = self._without(name, total)
        return found

    def _hear(self, now_s: float, names: Mapping[str, Interval]) -> None:
        """Note what the gateway has told since the last time."""
        for version in self._versions:
            total = self._source.repeated(version)
            before, self._told[version] = self._told[version], total
            more = total.since(before)
            if more.is_empty:
                continue
            for name in names:
                classified = name in self._classifying
                in_window = _as_counted(more.in_window, more.left_in_window, classified=classified)
                in_rollout = _as_counted(more.in_rollout, more.left_in_rollout, classified=classified)
                self._owed.setdefault((name, version), deque()).append(_Owed(now_s, in_window, in_rollout))
        for owed in self._owed.values():
            while owed and now_s - owed[0].told_s > OWED_FOR_S:
                owed.popleft()

    def _without(self, name: str, total: Interval) -> tuple[Interval, Interval]:
        new = self._less(name, self._versions[0], total.new)
        old = self._less(name, self._versions[1], total.old)
        return Interval(new[0], old[0]), Interval(new[1], old[1])

    def _less(self, name: str, version: VersionKey, counts: RequestCounts) -> tuple[RequestCounts, RequestCounts]:
        owed = self._owed.get((name, version), ())
        for each in owed:
            taken = _common(each.in_window, counts)
            each.in_window, counts = _minus(each.in_window, taken), _minus(counts, taken)
        draws = counts
        for each in owed:
            taken = _common(each.in_rollout, draws)
            each.in_rollout, draws = _minus(each.in_rollout, taken), _minus(draws, taken)
        return counts, draws


def _as_counted(ended: RequestCounts, left: RequestCounts, *, classified: bool) -> RequestCounts:
    """Return repeated requests, and those that were left, as a source counts them."""
    counts = ended + left if classified else replace(ended, ok=ended.ok + ended.client_errors, client_errors=0)
    return replace(counts, arrivals=ended.requests + left.requests)


def _common(owed: RequestCounts, counts: RequestCounts) -> RequestCounts:
    """Return what is in both."""
    return RequestCounts(
        ok=min(owed.ok, counts.ok),
        client_errors=min(owed.client_errors, counts.client_errors),
        server_errors=min(owed.server_errors, counts.server_errors),
        arrivals=min(owed.arrivals, counts.arrivals),
    )


def _minus(counts: RequestCounts, taken: RequestCounts) -> RequestCounts:
    return replace(
        counts,
        ok=counts.ok - taken.ok,
        client_errors=counts.client_errors - taken.client_errors,
        server_errors=counts.server_errors - taken.server_errors,
        arrivals=counts.arrivals - taken.arrivals,
    )
