"""Running totals to counts of an interval, without the probes that the gates made themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from echoplaned.core.ids import VersionKey
from echoplaned.gates.counts import Interval, Tally
from echoplaned.ports.traffic import ClientSource, Reporter, TrafficCounts, TrafficSource

OWED_FOR_S = 10.0
"""A probe that no report has counted for so long is not waited for any more."""

_NOTHING = TrafficCounts()


@dataclass(slots=True)
class _Owed:
    """Probes that a source will count, or has counted, and that are not traffic; taken off as soon as such counts come."""

    arrivals: int = 0
    ok: int = 0
    failed: int = 0
    last_s: float = 0.0


def _difference(before: TrafficCounts, after: TrafficCounts) -> Tally:
    """Return what came on top; totals only grow, and one that does not (a broken source) counts as nothing."""
    return Tally(
        ok=max(0, after.ok - before.ok),
        client_errors=max(0, after.client_errors - before.client_errors),
        server_errors=max(0, after.server_errors - before.server_errors),
        arrivals=max(0, after.arrivals - before.arrivals),
    )


class TotalsReader:
    """Reads what each source has counted since the last reading, for the two versions of a rollout.

    Args:
        sources: by name.
        new: the version that comes.
        old: the version that it replaces.
        probes_counted_by: sources whose totals include probes.
    """

    def __init__(
        self,
        sources: Mapping[str, TrafficSource],
        new: VersionKey,
        old: VersionKey,
        probes_counted_by: frozenset[str],
    ) -> None:
        self._sources = dict(sources)
        self._versions = (new, old)
        self._last = {name: dict(source.totals()) for name, source in self._sources.items()}
        self._owed = {(name, key): _Owed() for name in self._sources if name in probes_counted_by for key in (new, old)}

    def has_spoken(self, name: str) -> bool:
        """Whether a source has counted any request of this model so far."""
        model = self._versions[0].model
        totals = self._last[name].items()
        return any(key.model == model and counts != _NOTHING for key, counts in totals)

    def read(self, now_s: float) -> tuple[tuple[str, Interval], ...]:
        """Return what each source counted since the last reading."""
        return tuple((name, self._read(name, source, now_s)) for name, source in self._sources.items())

    def probe_sent(self, version: VersionKey, now_s: float) -> None:
        """A probe goes out; it will be counted as an arrival and, as is usual, as a good answer."""
        for owed in self._owed_of(version):
            owed.arrivals += 1
            owed.ok += 1
            owed.last_s = now_s

    def probe_failed(self, version: VersionKey) -> None:
        """The probe that went out last was no good answer after all."""
        for owed in self._owed_of(version):
            owed.ok -= 1
            owed.failed += 1

    def _owed_of(self, version: VersionKey) -> list[_Owed]:
        return [owed for (_, key), owed in self._owed.items() if key == version]

    def _read(self, name: str, source: TrafficSource, now_s: float) -> Interval:
        totals = dict(source.totals())
        before, self._last[name] = self._last[name], totals
        # A source that cannot count one of the two says nothing of either: a comparison would take unset for zero.
        if not all(totals.get(key, _NOTHING).is_counted for key in self._versions):
            return Interval()
        tallies = []
        for key in self._versions:
            tally = _difference(before.get(key, _NOTHING), totals.get(key, _NOTHING))
            owed = self._owed.get((name, key))
            tallies.append(tally if owed is None else _without_probes(tally, owed, now_s))
        return Interval(new=tallies[0], old=tallies[1])


class ClientsReader:
    """Reads what each client has reported since the last reading, for the two versions of a rollout.

    Clients are known by their streams of reports: one that comes back begins anew.
    """

    def __init__(self, source: ClientSource, new: VersionKey, old: VersionKey) -> None:
        self._source = source
        self._versions = (new, old)
        self._last = self._totals()

    def read(self) -> tuple[tuple[Reporter, Interval], ...]:
        """Return what each client that reported something has counted since the last reading."""
        before, self._last = self._last, self._totals()
        new, old = (
            {r: _difference(was.get(r, _NOTHING), c) for r, c in now.items() if c != was.get(r, _NOTHING)}
            for was, now in zip(before, self._last, strict=True)
        )
        reporters = sorted(new.keys() | old.keys(), key=lambda r: r.stream)
        return tuple((r, Interval(new.get(r, Tally()), old.get(r, Tally()))) for r in reporters)

    def steered(self, suspects: tuple[Reporter, ...]) -> frozenset[str]:
        """Return the nodes whose traffic the model's routes alone steer; looked up only for suspects, as it takes a while."""
        return self._source.steered(self._versions[0].model) if suspects else frozenset()

    def _totals(self) -> tuple[dict[Reporter, TrafficCounts], ...]:
        return tuple(dict(self._source.by_client(version)) for version in self._versions)


def _without_probes(tally: Tally, owed: _Owed, now_s: float) -> Tally:
    """Take off the probes that these counts can hold; what is left is owed by the next ones."""
    if now_s - owed.last_s > OWED_FOR_S:
        owed.arrivals = owed.ok = owed.failed = 0
    arrivals = min(owed.arrivals, tally.arrivals)
    # Below 0 when a failed probe was taken off as a good answer before its outcome was known; the next probe makes up for it.
    ok = min(max(0, owed.ok), tally.ok)
    server = min(owed.failed, tally.server_errors)
    client = min(owed.failed - server, tally.client_errors)
    owed.arrivals -= arrivals
    owed.ok -= ok
    owed.failed -= server + client
    return Tally(tally.ok - ok, tally.client_errors - client, tally.server_errors - server, tally.arrivals - arrivals)
