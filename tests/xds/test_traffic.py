"""What the loop makes of the clients' reports."""

from __future__ import annotations

from echoplaned.core.ids import VersionKey
from echoplaned.ports.request_counts import CountedBy, RequestCounts
from echoplaned.ports.traffic import Reporter
from echoplaned.xds.observer import LoadReport
from echoplaned.xds.traffic import ClientRequestTotals

V1 = VersionKey("m", "v1")


def counts(ok: int, error: int, arrivals: int, in_flight: int) -> RequestCounts:
    """Return counts of load reports."""
    return RequestCounts(ok, 0, error, arrivals, in_flight, origin=CountedBy.LRS)


def load(stream: int, ok: int, error: int, in_progress: int, model: str = "m") -> LoadReport:
    """Return one report of a second on version v1; the node's id is shared by all streams, as a common bootstrap file does it."""
    return LoadReport(
        VersionKey(model, "v1"), Reporter("shared", stream), counts(ok, error, ok + error, in_progress), 1.0
    )


def test_requests_under_way_add_up_over_clients() -> None:
    """What is under way is the sum of each stream's newest report; a stream that ends takes only that away."""
    totals = ClientRequestTotals()
    totals.add(load(1, 10, 0, 4))
    totals.add(load(2, 20, 1, 3))
    assert totals.totals()[V1] == counts(30, 1, 31, 7)
    totals.add(load(1, 5, 0, 1))
    assert totals.totals()[V1] == counts(35, 1, 36, 4)
    assert totals.by_client(V1)[Reporter("shared", 1)] == counts(15, 0, 15, 1)
    totals.on_ended(Reporter("shared", 2))
    totals.on_ended(Reporter("shared", 2))
    assert set(totals.by_client(V1)) == {Reporter("shared", 1)}
    assert totals.totals()[V1] == counts(35, 1, 36, 1)
    assert totals.report_count == 3


def test_what_began_follows_from_what_is_under_way() -> None:
    """A client that never tells what it issued is told by what ended; a stream that only ends began nothing."""
    totals = ClientRequestTotals()
    for counted in (counts(3, 0, 0, 2), counts(5, 1, 0, 1), counts(1, 0, 0, 0)):
        totals.add(LoadReport(V1, Reporter("old", 1), counted, 1.0))
    assert totals.totals()[V1] == counts(9, 1, 5, 0)
    assert totals.by_client(V1)[Reporter("old", 1)] == counts(9, 1, 5, 0)


def test_a_forgotten_model_leaves_nothing() -> None:
    """A model that is deleted and made again begins at zero, while its clients' streams go on."""
    totals = ClientRequestTotals()
    totals.add(load(1, 10, 0, 4))
    totals.add(load(1, 10, 0, 4, model="other"))
    totals.remove("m")
    assert set(totals.totals()) == {VersionKey("other", "v1")}
    totals.add(load(1, 1, 0, 2))
    assert totals.totals()[V1] == counts(1, 0, 1, 2)
