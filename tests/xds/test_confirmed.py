"""Who has traffic: only requests that the workers saw, and more than anybody could claim of others'."""

from __future__ import annotations

from dataclasses import dataclass, field

from echoplaned.core.ids import VersionKey
from echoplaned.ports.request_counts import CountedBy, RequestCounts
from echoplaned.ports.traffic import Busy, Caller, EngineCounters, Reporter
from echoplaned.xds.confirmed import MAX_ENTRIES, WINDOW_S, ConfirmedRequests
from echoplaned.xds.observer import LoadReport
from echoplaned.xds.traffic import ClientRequestTotals

V1 = VersionKey("m", "v1")
HONEST, STRANGER, LIAR = (Caller(name, f"ipv4:127.0.0.1:{port}") for port, name in enumerate(("a", "b", "c"), start=1))
COUNTS_ALL = EngineCounters(counts_arrivals=True, counts_errors=True)
EVERYBODY = (HONEST, STRANGER, LIAR)


@dataclass
class World:
    """Clients that report, workers that count, and a clock."""

    now_s: float = 1000.0
    counters: EngineCounters | None = COUNTS_ALL
    counted: dict[VersionKey, RequestCounts] = field(default_factory=dict)
    claims: ClientRequestTotals = field(default_factory=ClientRequestTotals)

    def __post_init__(self) -> None:
        self.confirmed = ConfirmedRequests(self.claims, self, self, self.clock)

    def clock(self) -> float:
        """Return the time, which goes on a little with every look."""
        self.now_s += 1e-6
        return self.now_s

    def totals(self) -> dict[VersionKey, RequestCounts]:
        """Return what the workers counted (the port ``TrafficSource``)."""
        return self.counted

    def engine_counters(self, version: VersionKey) -> EngineCounters | None:
        """Return what a test set (the port ``EngineCounterSource``)."""
        assert version.model == "m"
        return self.counters

    def second(self, arrivals: int = 0, steps: int = 0, **reports: int) -> None:
        """Let a second pass in which so many requests arrive; ``reports``: who reports how many."""
        self.now_s += 1.0
        self.counted[V1] = self.counted.get(V1, RequestCounts()) + RequestCounts(arrivals, 0, 0, arrivals, steps=steps)
        for caller in EVERYBODY:
            if count := reports.get(caller.node, 0):
                counts = RequestCounts(count, 0, 0, count, origin=CountedBy.LRS)
                report = LoadReport(V1, Reporter(caller.node, 1, caller.peer), counts, 1.0)
                self.claims.add(report)
                self.confirmed.on_report(report)

    def busy(self) -> Busy:
        """Return who is busy."""
        return self.confirmed.busy("m", EVERYBODY)


def test_a_client_whose_requests_arrived_is_busy() -> None:
    """It is after some seconds, as long as its last request is not five minutes old; another model's subscriber is not."""
    world = World()
    assert world.busy() == Busy()
    for _ in range(20):
        world.second(10, a=10)
    assert world.busy() == Busy(frozenset({HONEST}))
    assert world.confirmed.busy("n", EVERYBODY) == Busy()
    for _ in range(int(WINDOW_S) + 10):
        world.second()
        world.confirmed.sample()
    assert world.busy() == Busy()


def test_one_report_is_enough() -> None:
    """A client that has reported once, and nothing since, is busy: its requests are five seconds old and contradicted by nobody."""
    world = World()
    world.now_s += 30.0
    world.second(40, a=40)
    world.now_s += 10.0
    assert world.busy() == Busy(frozenset({HONEST}))


def test_made_up_requests_make_nobody_busy() -> None:
    """Where more is reported than arrived nobody's word counts; that somebody calls is what the workers say."""
    world = World()
    for _ in range(20):
        world.second(0, c=1)
    assert world.busy() == Busy()
    for _ in range(20):
        world.second(10, a=10, c=10)
    assert world.busy() == Busy(others=True)


def test_what_is_not_reported_yet_makes_no_liar_busy() -> None:
    """A client that claims a few of those requests that others have not reported yet is none with traffic."""
    world = World()
    for i in range(30):
        world.second(50, a=50 if i else 30, c=1 if i < 20 else 0)
    assert world.busy() == Busy(frozenset({HONEST}))


def test_the_same_id_on_another_connection_is_another_client() -> None:
    """Ids are free text: one that borrows a busy client's id has no traffic."""
    world = World()
    for _ in range(20):
        world.second(10, a=10)
    borrowed = Caller(HONEST.node, "ipv4:127.0.0.1:9")
    assert world.confirmed.busy("m", (HONEST, borrowed)).callers == {HONEST}
    world.confirmed.on_ended(HONEST)
    assert world.busy() == Busy()


def test_an_engine_that_counts_no_arrivals_is_bounded_by_its_progress() -> None:
    """Reports of such an engine are believed as far as it computed steps."""
    world = World(counters=EngineCounters())
    for _ in range(20):
        world.second(steps=10, a=10)
    assert world.busy().callers == {HONEST}
    for _ in range(20):
        world.second(steps=1, a=10)
    assert not world.busy().callers


def test_memory_is_bounded() -> None:
    """However many clients report, so many are remembered, each with one entry a sample's time."""
    world = World()
    for n in range(MAX_ENTRIES + 10):
        reporter = Reporter(f"node-{n}", n, "peer")
        world.confirmed.on_report(LoadReport(V1, reporter, RequestCounts(1, 0, 0, 1), 1.0))
    assert len(world.confirmed._recent) == MAX_ENTRIES
