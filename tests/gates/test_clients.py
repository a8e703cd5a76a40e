"""Client by client: a version that some clients do not reach, or that fails for one of them alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from random import Random

import pytest

from echoplaned.core.ids import VersionKey
from echoplaned.core.rollout_state import GateVerdict, Verdict
from echoplaned.core.spec import RolloutPolicy
from echoplaned.gates.claim_audit import ClaimAudit, VersionClaims
from echoplaned.gates.client_reports import ClientReports, LookUpRouteOnlyClients
from echoplaned.gates.clients import evidence as clients
from echoplaned.gates.clients.collector import ClientsCollector
from echoplaned.gates.clients.evidence import IDLE_S, MAX_CLIENTS, ClientsEvidence, ClientsObservation
from echoplaned.gates.clients.gate import ClientsWindow
from echoplaned.gates.evaluation import RolloutEvidence, enter, observe, weigh
from echoplaned.gates.gate import Observation, Source
from echoplaned.gates.statistics.error_eprocess import ErrorTest
from echoplaned.gates.window import Window
from echoplaned.ports.request_counts import Interval, RequestCounts
from echoplaned.ports.traffic import Caller, Reporter
from tests.gates.judging import begin, evidence_of, verdict

TEST = ErrorTest(alpha=1e-4, slo_error_rate=0.01)
LRS = Source("LRS", tells_client_errors=False, routed=True, reporting=True)
Reports = tuple[tuple[Reporter, Interval], ...]


def reporter(number: int) -> Reporter:
    """Return a client; every one has an id of its own."""
    return Reporter(f"client-{number}", number)


def drawn(random: Random, requests: int, weight: float, new_error: float = 0.0, *, reaches: bool = True) -> Interval:
    """Return what one client reports: each request picks its version at random; one that finds no connection is not reported."""
    picks = sum(random.random() < weight for _ in range(requests))
    failed = sum(random.random() < new_error for _ in range(picks))
    new = RequestCounts(ok=picks - failed, server_errors=failed, arrivals=picks) if reaches else RequestCounts()
    return Interval(new, RequestCounts(ok=requests - picks, arrivals=requests - picks))


def reports(random: Random, weight: float, odd: dict[int, Interval], count: int = 20) -> Reports:
    """Return one second of ``count`` clients with 10 requests each; ``odd``: those that see something else."""
    return tuple((reporter(n), odd.get(n) or drawn(random, 10, weight)) for n in range(count))


def rollout(
    seconds: Iterator[Reports], weight: float, route_only_clients: frozenset[Caller]
) -> tuple[RolloutEvidence, float]:
    """Observe a stage of a rollout until its clients fail it or time is up; return the evidence and the time."""
    evidence = begin(Window(RolloutPolicy(), 1, 1, 0.0), (LRS,))
    now_s = 0.0
    for now_s, told in enumerate(seconds, start=1):
        total = sum((interval for _, interval in told), Interval())
        part = ClientReports(told, route_only_clients, total.old.requests)
        seen = Observation(now_s, (("LRS", total),), weight, 20, 0, (), (part,))
        evidence = observe(evidence, seen)
        if evidence_of(evidence, ClientsWindow).clients.failed is not None:
            break
    return evidence, now_s


def said(evidence: RolloutEvidence, now_s: float, gate: str = "clients") -> Verdict:
    """Return what a gate says."""
    return verdict(weigh(evidence, now_s), gate)


ALL = frozenset(reporter(n).caller for n in range(100))


def test_a_client_that_does_not_reach_the_version_fails_it() -> None:
    """One of 20 clients never gets through: the sum sees nothing wrong, the client's own silence holds and then fails the version."""
    random = Random(1)

    def seconds(count: int) -> Iterator[Reports]:
        for _ in range(count):
            yield reports(random, 0.05, {7: drawn(random, 10, 0.05, reaches=False)})

    evidence, now_s = rollout(seconds(50), 0.05, ALL)
    assert said(evidence, now_s).verdict is GateVerdict.HOLD
    assert said(evidence, now_s).reason.startswith("CLIENT_AWAITED")
    assert said(evidence, now_s, "arrivals").verdict is GateVerdict.PASS
    evidence, now_s = rollout(seconds(200), 0.05, ALL)
    failed = said(evidence, now_s)
    assert failed.verdict is GateVerdict.FAIL
    assert failed.reason.startswith("CLIENT_UNREACHED")
    assert "client-7" in failed.reason
    assert dict(failed.counts)["old_silent_request_count"] > 300
    assert now_s < 90


def test_a_silence_within_what_is_not_reported_yet_neither_holds_nor_fails() -> None:
    """A client that claims no more requests than others may be about to report could be telling theirs: nobody waits for it."""
    random = Random(9)
    small = Interval(RequestCounts(), RequestCounts(ok=5, arrivals=5))
    told = (reports(random, 0.05, {7: small if n < 50 else drawn(random, 1, 0.0)}) for n in range(100))
    evidence, now_s = rollout(told, 0.05, ALL)
    silent = evidence_of(evidence, ClientsWindow).clients.known[reporter(7)]
    assert silent.is_silent
    assert said(evidence, now_s).verdict is GateVerdict.PASS


def test_a_client_that_dials_versions_itself_is_not_missed() -> None:
    """Requests by a version's own target had no choice: their client's silence says nothing."""
    random = Random(2)
    odd = {7: Interval(RequestCounts(), RequestCounts(ok=10, arrivals=10))}
    told = (reports(random, 0.05, odd) for _ in range(200))
    evidence, now_s = rollout(told, 0.05, ALL - {reporter(7).caller})
    assert said(evidence, now_s).verdict is GateVerdict.PASS
    assert "20 clients are judged one by one, 19 have reached" in said(evidence, now_s).reason


def test_silence_of_all_is_the_sums_matter() -> None:
    """A version that nobody reaches is failed by the arrivals; no single client is blamed for it."""
    told = (reports(Random(3), 0.0, {}) for _ in range(200))
    evidence, now_s = rollout(told, 0.05, ALL)
    assert said(evidence, now_s).verdict is GateVerdict.PASS
    assert said(evidence, now_s, "arrivals").verdict is GateVerdict.FAIL


def test_a_client_with_failures_only_fails_it() -> None:
    """One of 20 clients gets nothing but errors from the new version: few in the sum, significantly more in its own reports."""
    random = Random(4)
    told = (reports(random, 0.05, {3: drawn(random, 10, 0.05, 1.0)}) for _ in range(200))
    evidence, now_s = rollout(told, 0.05, ALL)
    failed = said(evidence, now_s)
    assert failed.verdict is GateVerdict.FAIL
    assert failed.reason.startswith("CLIENT_FAILS: the error rate of client client-3 is significantly higher")
    assert dict(failed.counts)["new_server_error_count"] <= 15
    later = enter(evidence, Window(RolloutPolicy(), 2, 2, now_s))
    assert said(later, now_s + 1.0).verdict is GateVerdict.FAIL


@pytest.mark.long
def test_equal_versions_are_not_failed_by_any_client() -> None:
    """100 seeded stages of 60 s with 30 healthy clients each (5 % errors at both versions): none is failed.

    That bounds the chance at 3 % with 95 % confidence; the bound by construction is 2e-4.
    """
    random = Random(5)

    def equal(weight: float) -> Interval:
        picks = sum(random.random() < weight for _ in range(5))
        new, old = (sum(random.random() < 0.05 for _ in range(n)) for n in (picks, 5 - picks))
        return Interval(RequestCounts(picks - new, 0, new, picks), RequestCounts(5 - picks - old, 0, old, 5 - picks))

    failed = 0
    for run in range(100):
        weight = (0.05, 0.3, 0.5, 0.9)[run % 4]
        evidence = ClientsEvidence()
        for second in range(60):
            told = tuple((reporter(n), equal(weight)) for n in range(30))
            seen = ClientsObservation(float(second), told, weight, ALL)
            evidence = clients.observe(evidence, seen, TEST, soaking=False)
        failed += evidence.failed is not None
    assert failed == 0


def test_what_a_client_reports_first_is_left_out() -> None:
    """A client that comes back tells what it did under older weights; that is no silence at the new version."""
    seen = ClientsObservation(
        1.0, ((reporter(1), Interval(RequestCounts(), RequestCounts(ok=5000, arrivals=5000))),), 0.5, ALL
    )
    evidence = clients.observe(ClientsEvidence(), seen, TEST, soaking=False)
    again = replace(
        seen, now_s=2.0, intervals=((reporter(1), Interval(RequestCounts(), RequestCounts(ok=40, arrivals=40))),)
    )
    evidence = clients.observe(evidence, again, TEST, soaking=False)
    (client,) = evidence.known.values()
    assert client.total.old.requests == 40
    assert evidence.suspects == ()


def test_memory_is_bounded() -> None:
    """However many clients there are, the first 64 are judged; those that fall silent make room, at a higher price."""
    interval = Interval(RequestCounts(ok=1, arrivals=1), RequestCounts(ok=1, arrivals=1))
    told = tuple((reporter(n), interval) for n in range(1000))
    evidence = clients.observe(ClientsEvidence(), ClientsObservation(0.0, told, 0.5), TEST, soaking=False)
    assert list(evidence.known) == [reporter(n) for n in range(MAX_CLIENTS)]
    later = ClientsObservation(IDLE_S + 1.0, told[500:], 0.5)
    evidence = clients.observe(evidence, later, TEST, soaking=False)
    assert len(evidence.known) == MAX_CLIENTS
    assert evidence.known[reporter(500)].number == MAX_CLIENTS + 1
    assert clients.enter(evidence, TEST, soaking=False).known[reporter(500)].total == Interval()


@dataclass
class Audited:
    """An audit of claims that a test sets."""

    claim_audit: ClaimAudit = field(default_factory=ClaimAudit)


class Reported:
    """The port ``ClientSource``, by hand."""

    def __init__(self) -> None:
        self.counts: dict[VersionKey, dict[Reporter, RequestCounts]] = {}
        self.asked = 0

    def by_client(self, version: VersionKey) -> dict[Reporter, RequestCounts]:
        """Return what was set."""
        return self.counts.get(version, {})

    def route_only_clients(self, model: str) -> frozenset[Caller]:
        """Return every client, and count the calls."""
        assert model == "m"
        self.asked += 1
        return ALL

    def version_clients(self, model: str) -> frozenset[Caller]:
        """Return the second client."""
        assert model == "m"
        return frozenset({reporter(2).caller})


def test_the_reader_tells_what_came_on_top() -> None:
    """Only clients that reported something are told, with what is new since the last reading; one that went is not."""
    new, old, source = VersionKey("m", "v2"), VersionKey("m", "v1"), Reported()
    source.counts[old] = {reporter(1): RequestCounts(ok=100, arrivals=100)}
    reader = ClientsCollector(source, Audited(), new, old)
    assert reader.read() == ()
    source.counts[old] = {
        reporter(1): RequestCounts(ok=110, arrivals=111),
        reporter(2): RequestCounts(ok=5, arrivals=5),
    }
    source.counts[new] = {reporter(2): RequestCounts(server_errors=1, arrivals=1)}
    assert reader.read() == (
        (reporter(1), Interval(RequestCounts(), RequestCounts(ok=10, arrivals=11))),
        (reporter(2), Interval(RequestCounts(server_errors=1, arrivals=1), RequestCounts(ok=5, arrivals=5))),
    )
    del source.counts[old][reporter(1)]
    assert reader.read() == ()


def test_requests_of_clients_that_dial_versions_are_told_where_that_is_asked() -> None:
    """So that the requests of the old version that had no choice can be told from the others."""
    old, source = VersionKey("m", "v1"), Reported()
    collector = ClientsCollector(source, Audited(), VersionKey("m", "v2"), old)
    collector.take((LookUpRouteOnlyClients(),))
    source.counts[old] = {reporter(n): RequestCounts(ok=10 * n, arrivals=10 * n) for n in (1, 2)}
    part = collector.add_to(Observation(1.0)).part(ClientReports)
    assert part is not None
    assert (part.old_requests, part.old_dialled) == (30, 20)
    collector.enter()
    part = collector.add_to(Observation(2.0)).part(ClientReports)
    assert part is not None
    assert part.old_requests is None


def test_who_is_steered_is_looked_up_where_that_is_asked() -> None:
    """The look-up takes a while: it is made while a gate asks for it, until the window ends."""
    source = Reported()
    collector = ClientsCollector(source, Audited(), VersionKey("m", "v2"), VersionKey("m", "v1"))

    def route_only_clients() -> frozenset[Caller]:
        part = collector.add_to(Observation(1.0)).part(ClientReports)
        assert part is not None
        return part.route_only_clients

    assert route_only_clients() == frozenset()
    assert source.asked == 0
    collector.take((LookUpRouteOnlyClients(),))
    assert route_only_clients() == ALL
    collector.enter()
    assert route_only_clients() == frozenset()
    assert source.asked == 1


def test_what_a_client_reports_waits_until_all_claims_are_shown() -> None:
    """A claim that no counter shows holds every client's reports back; once it is given up, or found out, they are dropped."""
    source, audited = Reported(), Audited()
    new, old = VersionKey("m", "v2"), VersionKey("m", "v1")
    collector = ClientsCollector(source, audited, new, old)

    def told() -> tuple[int, ...]:
        part = collector.add_to(Observation(1.0)).part(ClientReports)
        assert part is not None
        return tuple(interval.new.errors for _, interval in part.intervals)

    def report(errors: int) -> None:
        source.counts[new] = {reporter(1): RequestCounts(server_errors=errors, arrivals=errors)}

    report(1)
    assert told() == ()
    audited.claim_audit = ClaimAudit(new=VersionClaims(claimed=RequestCounts(server_errors=1)))
    report(3)
    assert told() == ()
    audited.claim_audit = ClaimAudit()
    assert told() == (3,)
    report(4)
    assert told() == ()
    audited.claim_audit = ClaimAudit(new=VersionClaims(claimed=RequestCounts(server_errors=1), dropped_errors=1))
    assert told() == ()
    report(6)
    assert told() == ()
    assert told() == (2,)
    report(7)
    told()
    audited.claim_audit = ClaimAudit(left_out="too many")
    assert told() == ()
