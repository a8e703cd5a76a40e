"""Requests that clients reported of late, by client and model.

A client is on one connection, and a connection has a share of the entries: node ids are free text, so one connection can be as many
clients as it has streams.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict, defaultdict
from dataclasses import dataclass, field
from typing import Final

from echoplaned.core.budgets import Budget, BudgetExceededError
from echoplaned.core.numbers import clamp_count
from echoplaned.ports.traffic import Caller, Reporter

MAX_ENTRIES: Final = 20_000
"""Clients times models of which requests are kept; beyond these, nobody new has any."""

SHARE: Final = MAX_ENTRIES // 4
"""Of these, one connection's: an Envoy in front of a thousand models has a thousand."""


@dataclass(slots=True)
class _Counts:
    """One client's requests to one model, and after which sample they were reported.

    There is one number for all reports between two samples, however many there are.
    """

    samples: array[float] = field(default_factory=lambda: array("d"))
    counts: array[int] = field(default_factory=lambda: array("q"))

    def add(self, sample_s: float, count: int) -> None:
        if self.samples and self.samples[-1] == sample_s:
            self.counts[-1] = clamp_count(self.counts[-1] + count)
        else:
            self.samples.append(sample_s)
            self.counts.append(clamp_count(count))

    def forget_before(self, sample_s: float) -> None:
        gone = next((place for place, each in enumerate(self.samples) if each >= sample_s), len(self.samples))
        del self.samples[:gone], self.counts[:gone]


class RecentRequests:
    """What clients reported of late.

    Invariants: ``_counts`` is in the order of the last reports, the longest silent client first; the budget holds one for each of its
    entries, ``_models`` has the same entries by client.
    """

    def __init__(self) -> None:
        self._counts: OrderedDict[tuple[Caller, str], _Counts] = OrderedDict()
        self._models: defaultdict[Caller, set[str]] = defaultdict(set)
        self._streams: defaultdict[Caller, set[int]] = defaultdict(set)
        self._budget = Budget("clients' models with recent requests", MAX_ENTRIES, SHARE)

    def __len__(self) -> int:
        """Clients times models."""
        return len(self._counts)

    @property
    def number_count(self) -> int:
        """Numbers that are kept of all of them."""
        return sum(len(each.counts) for each in self._counts.values())

    def add(self, reporter: Reporter, model: str, sample_s: float, count: int) -> bool:
        """Note requests that were reported after a sample and before the next one.

        Returns whether there was room.
        """
        key = (reporter.caller, model)
        counts = self._counts.get(key)
        if counts is None:
            try:
                self._budget.acquire(reporter.peer)
            except BudgetExceededError:
                return False
            counts = self._counts[key] = _Counts()
            self._models[reporter.caller].add(model)
        self._streams[reporter.caller].add(reporter.stream)
        self._counts.move_to_end(key)
        counts.add(sample_s, count)
        return True

    def between(self, caller: Caller, model: str, begin_s: float, end_s: float) -> int:
        """Return the requests that were reported between two samples."""
        counts = self._counts.get((caller, model))
        if counts is None:
            return 0
        pairs = zip(counts.samples, counts.counts, strict=True)
        return sum(count for sample_s, count in pairs if begin_s <= sample_s < end_s)

    def forget_before(self, sample_s: float) -> None:
        """Drop clients that have reported nothing since a sample."""
        while self._counts:
            key, counts = next(iter(self._counts.items()))
            if counts.samples[-1] >= sample_s:
                return
            self._drop(key)

    def trim(self, caller: Caller, model: str, sample_s: float) -> None:
        """Drop what one client reported of a model before a sample."""
        counts = self._counts.get((caller, model))
        if counts is not None:
            counts.forget_before(sample_s)

    def on_ended(self, reporter: Reporter) -> None:
        """Forget a client whose last stream of reports has ended."""
        caller = reporter.caller
        streams = self._streams.get(caller)
        if streams is None:
            return
        streams.discard(reporter.stream)
        if not streams:
            del self._streams[caller]
            for model in tuple(self._models.get(caller, ())):
                self._drop((caller, model))

    def _drop(self, key: tuple[Caller, str]) -> None:
        caller, model = key
        del self._counts[key]
        self._budget.release(caller.peer)
        self._models[caller].discard(model)
        if not self._models[caller]:
            del self._models[caller]
