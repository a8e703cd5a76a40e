"""The daemon's memory of what requests said: bounded, the same for every version, the oldest dropped and counted."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from echoplaned.core.ids import VersionKey
from echoplaned.ports.traces import RequestTrace, TraceCounts

MAX_TRACES: Final = 4096
MAX_BYTES: Final = 8 * 1024 * 1024
"""Of one version's arrays; whichever limit comes first."""

MAX_VERSIONS: Final = 64
"""Versions whose traces are kept; beyond them the one that was silent longest is forgotten, its counts included."""


@dataclass(slots=True)
class _Kept:
    """One version's traces. ``dropped_by``: what each of its workers says that it dropped."""

    waiting: deque[RequestTrace] = field(default_factory=deque)
    nbytes: int = 0
    received: int = 0
    dropped: int = 0
    dropped_by: dict[str, int] = field(default_factory=dict)

    def put(self, trace: RequestTrace) -> None:
        self.waiting.append(trace)
        self.nbytes += trace.nbytes
        self.received += 1
        while len(self.waiting) > MAX_TRACES or self.nbytes > MAX_BYTES:
            self.nbytes -= self.waiting.popleft().nbytes
            self.dropped += 1

    def take(self) -> tuple[RequestTrace, ...]:
        taken = tuple(self.waiting)
        self.waiting.clear()
        self.nbytes = 0
        return taken


class TraceStore:
    """Takes traces from the engines and is a ``TraceSource`` for the gates. Event loop only; counts may be read from any thread."""

    def __init__(self) -> None:
        self._kept: OrderedDict[VersionKey, _Kept] = OrderedDict()

    def take(self, version: VersionKey, process: str, traces: tuple[RequestTrace, ...], dropped: int) -> None:
        """Take a worker's traces. ``dropped``: how many it dropped in all; ``process`` names one life of one worker."""
        kept = self._kept.setdefault(version, _Kept())
        self._kept.move_to_end(version)
        kept.dropped_by[process] = dropped
        for trace in traces:
            kept.put(trace)
        while len(self._kept) > MAX_VERSIONS:
            self._kept.popitem(last=False)

    def ended(self, version: VersionKey, process: str) -> None:
        """A worker has gone: what it dropped is added up for good."""
        kept = self._kept.get(version)
        if kept is not None:
            kept.dropped += kept.dropped_by.pop(process, 0)

    def traces(self, version: VersionKey) -> tuple[RequestTrace, ...]:
        """Return what came since the last call, in the order of arrival, and forget it."""
        kept = self._kept.get(version)
        return () if kept is None else kept.take()

    def dropped_count(self, version: VersionKey) -> int:
        """Return how many traces of a version were dropped, here or in its workers."""
        return self.counts().get(version, TraceCounts()).dropped

    def counts(self) -> Mapping[VersionKey, TraceCounts]:
        """Return the counts of every version that is kept."""
        return {
            version: TraceCounts(kept.received, kept.dropped + sum(tuple(kept.dropped_by.values())))
            for version, kept in tuple(self._kept.items())
        }
