"""Who has traffic: only requests that the workers saw, and more than anybody could claim of others'."""

from __future__ import annotations

from dataclasses import dataclass, field

from echoplaned.core.ids import VersionKey
from echoplaned.ports.request_counts import CountedBy, RequestCounts
from echoplaned.ports.traffic import Busy, Caller, EngineCounters, Reporter
from echoplaned.xds.confirmed import SAMPLE_S, WINDOW_S, ConfirmedRequests
from echoplaned.xds.observer import LoadReport
from echoplaned.xds.publisher import Publisher
from echoplaned.xds.recent import MAX_ENTRIES, SHARE
from echoplaned.xds.traffic import ClientRequestTotals, Traffic
from tests.xds.xds_harness import Recorder

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
    world.confirmed.on_ended(Reporter(HONEST.node, 1, HONEST.peer))
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


def test_the_end_of_one_of_two_streams_forgets_nothing() -> None:
    """A client that reports on two streams is forgotten with the second one; the end of a stream that reported nothing is nothing."""
    world = World()
    for _ in range(20):
        world.second(10, a=10)
    world.claims.add(report_of(HONEST, stream=2))
    world.confirmed.on_report(report_of(HONEST, stream=2))
    world.confirmed.on_ended(Reporter(HONEST.node, 3, HONEST.peer))
    world.confirmed.on_ended(Reporter(HONEST.node, 2, HONEST.peer))
    assert world.busy() == Busy(frozenset({HONEST}))
    world.confirmed.on_ended(Reporter(HONEST.node, 1, HONEST.peer))
    assert world.busy() == Busy()
    assert len(world.confirmed.recent) == 0


def report_of(caller: Caller, version: VersionKey = V1, stream: int = 1) -> LoadReport:
    """Return a report of one request."""
    return LoadReport(version, Reporter(caller.node, stream, caller.peer), RequestCounts(1, 0, 0, 1), 1.0)


def test_a_connection_has_a_share_of_the_memory() -> None:
    """Whoever is many clients on one connection fills its share, two fill what is not kept, and a newcomer's requests still count."""
    world = World()
    for n in range(MAX_ENTRIES + 10):
        world.confirmed.on_report(report_of(Caller(f"node-{n}", "greedy"), stream=n))
    assert len(world.confirmed.recent) == SHARE
    for n in range(MAX_ENTRIES + 10):
        world.confirmed.on_report(report_of(Caller(f"node-{n}", f"greedy-{n % 3}"), stream=n))
    assert len(world.confirmed.recent) == MAX_ENTRIES // 2
    for _ in range(20):
        world.second(10, a=10)
    assert world.busy() == Busy(frozenset({HONEST}))


def test_versions_that_do_not_exist_take_no_room() -> None:
    """Reports of thirty thousand made-up versions leave nothing, neither in the totals nor in what is confirmed."""
    world = World()
    traffic = Traffic(lambda _: None, world.clock, lambda *_: None, lambda version: version == V1)
    traffic.connect(Publisher(traffic, world.clock), world.confirmed)
    for n in range(30_000):
        traffic.load_report(report_of(LIAR, VersionKey(f"m{n}", "v1")))
    assert (len(world.confirmed.recent), traffic.loads.totals()) == (0, {})
    traffic.load_report(report_of(HONEST))
    assert len(world.confirmed.recent) == 1
    traffic.load_stream_ended(Reporter(HONEST.node, 1, HONEST.peer))
    assert len(world.confirmed.recent) == 0


def test_memory_is_bounded_by_time_and_not_by_reports() -> None:
    """A hundred reports a second are one number a sample's time each; what nobody adds to goes with the window, by the tick alone."""
    world = World()
    most = int(WINDOW_S / SAMPLE_S) + 2
    for _ in range(int(WINDOW_S) + 100):
        world.second(1)
        for _ in range(100):
            world.confirmed.on_report(report_of(LIAR))
        assert world.confirmed.recent.number_count <= most
    world.confirmed.on_report(report_of(HONEST))
    for _ in range(int(WINDOW_S) + 10):
        world.second(1)
        world.confirmed.expire()
    assert len(world.confirmed.recent) == 0


def test_a_publisher_ticks() -> None:
    """What is confirmed is trimmed although nobody reports: whoever looks for silent subscribers also looks here, once a second."""
    world, ticks = World(), list[float]()
    publisher = Publisher(Recorder(), world.clock, tick=lambda: ticks.append(world.now_s))
    publisher.open({})
    for _ in range(40):
        world.now_s += 0.25
        publisher.expire()
    assert 8 <= len(ticks) <= 11
