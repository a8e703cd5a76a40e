"""The daemon's bounded memory of traces of requests.

The bounds are the same for every version; the oldest traces are dropped and counted.
"""

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
class _VersionTraces:
    """One version's traces.

    ``dropped_by``: what each of its workers says that it dropped.
    """

    waiting: deque[RequestTrace] = field(default_factory=deque)
    nbytes: int = 0
    received: int = 0
    dropped: int = 0
    dropped_by: dict[str, int] = field(default_factory=dict)

    def put(self, trace: RequestTrace) -> None:
        self.received += 1
        if trace.probe:
            return  # nobody reads our own requests, and an idle version's would fill its share
        self.waiting.append(trace)
        self.nbytes += trace.nbytes
        while len(self.waiting) > MAX_TRACES or self.nbytes > MAX_BYTES:
            self.nbytes -= self.waiting.popleft().nbytes
            self.dropped += 1

    def take(self) -> tuple[RequestTrace, ...]:
        taken = tuple(self.waiting)
        self.waiting.clear()
        self.nbytes = 0
        return taken


class TraceStore:
    """Takes traces from the engines and is a ``TraceSource`` for the gates.

    Event loop only; counts may be read from any thread.
    """

    def __init__(self) -> None:
        self._by_version: OrderedDict[VersionKey, _VersionTraces] = OrderedDict()

    def take(self, version: VersionKey, process: str, traces: tuple[RequestTrace, ...], dropped: int) -> None:
        """Take a worker's traces.

        ``dropped``: how many it dropped in all; ``process`` names one life of one worker.
        """
        of_version = self._by_version.setdefault(version, _VersionTraces())
        self._by_version.move_to_end(version)
        of_version.dropped_by[process] = dropped
        for trace in traces:
            of_version.put(trace)
        while len(self._by_version) > MAX_VERSIONS:
            self._by_version.popitem(last=False)

    def on_ended(self, version: VersionKey, process: str) -> None:
        """Keep what a worker dropped in the version's total after the worker has gone.

        The traces go with the last worker: of a version that was stopped or deleted nobody asks any more, and 8 MiB each would stay.
        """
        of_version = self._by_version.get(version)
        if of_version is None:
            return
        of_version.dropped += of_version.dropped_by.pop(process, 0)
        if not of_version.dropped_by:
            of_version.take()

    def traces(self, version: VersionKey) -> tuple[RequestTrace, ...]:
        """Return what came since the last call, in the order of arrival, and forget it."""
        of_version = self._by_version.get(version)
        return () if of_version is None else of_version.take()

    def dropped_count(self, version: VersionKey) -> int:
        """Return how many traces of a version were dropped, here or in its workers."""
        return self.counts().get(version, TraceCounts()).dropped

    def counts(self) -> Mapping[VersionKey, TraceCounts]:
        """Return the counts of every version that is kept."""
        return {
            version: TraceCounts(of_version.received, of_version.dropped + sum(tuple(of_version.dropped_by.values())))
            for version, of_version in tuple(self._by_version.items())
        }
