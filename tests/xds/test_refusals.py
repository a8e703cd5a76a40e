"""What subscribers refused: who, what, why and how often, within bounds."""

from __future__ import annotations

from echoplaned.core.events import Event, RoutesRefused
from echoplaned.ports.refusals import RecordedRefusal
from echoplaned.runtime.faults import AdapterFaults
from echoplaned.xds.observer import Nack, Refusal
from echoplaned.xds.refusals import (
    MAX_REFUSAL_CHARACTERS,
    MAX_REFUSALS,
    MAX_REFUSALS_PER_NODE,
    MAX_REFUSED_RESOURCES,
    RefusalLog,
)
from echoplaned.xds.traffic import Traffic


def refused(node: str, detail: str, now_s: float, models: frozenset[str] = frozenset({"m"})) -> RecordedRefusal:
    """Return a refusal that is only recorded."""
    return RecordedRefusal(node, "type/x", ("models/m",), models, detail, False, now_s, now_s)


def test_the_same_words_are_counted() -> None:
    """A client that repeats itself has one entry, the newest, with its first and last time."""
    log = RefusalLog()
    log.record(refused("a", "bad", 1.0))
    log.record(refused("b", "bad", 2.0))
    log.record(refused("a", "bad", 3.0))
    latest, other = log.of_model("m")
    assert (latest.node, latest.count, latest.first_s, latest.last_s) == ("a", 2, 1.0, 3.0)
    assert (other.node, other.count) == ("b", 1)
    assert log.of_model("n") == ()


def test_bounds() -> None:
    """Neither many refusals nor long ones take memory without end, and one client does not push out the others."""
    log = RefusalLog()
    log.record(refused("quiet", "bad", 0.0))
    for n in range(10 * MAX_REFUSALS):
        log.record(refused("loud", f"bad {n}", float(n)))
    assert [each.node for each in log.of_model("m")] == ["loud"] * MAX_REFUSALS_PER_NODE + ["quiet"]
    for n in range(10 * MAX_REFUSALS):
        log.record(refused(f"node {n}", "bad", float(n)))
    assert len(log.of_model("m")) == MAX_REFUSALS
    names = tuple(f"models/m/versions/v{n}" for n in range(100))
    log.record(RecordedRefusal("n" * 999, "t", names, frozenset({"m"}), "x" * 9999, True, 1.0, 1.0))
    long = log.of_model("m")[0]
    assert (len(long.node), len(long.resources), len(long.detail)) == (
        200,
        MAX_REFUSED_RESOURCES,
        MAX_REFUSAL_CHARACTERS,
    )


def test_a_deleted_model_takes_its_refusals_along() -> None:
    """What was about it and another model stays for the other one."""
    log = RefusalLog()
    log.record(refused("a", "bad", 1.0))
    log.record(refused("a", "worse", 2.0, frozenset({"m", "n"})))
    log.remove("m")
    assert [each.detail for each in log.of_model("n")] == ["worse"]
    assert [each.detail for each in log.of_model("m")] == ["worse"]


def test_what_the_traffic_part_tells() -> None:
    """A refusal of the newest routes is told to the core and counts; any other is only recorded."""
    told: list[Event] = []
    traffic = Traffic(told.append, lambda: 5.0, AdapterFaults(told.append, lambda: 5.0).report)
    traffic.nack_recorded(Nack("a", "type/x", "what is this", frozenset({"models/m"}), frozenset({"m"})))
    assert told == []
    traffic.routes_refused(Refusal("m", 3, "b", "type/y", "bad cluster", frozenset({"models/m/versions/v2"})))
    assert told == [RoutesRefused(5.0, "m", 3, "b", "bad cluster")]
    shown = [(each.node, each.type_url, each.resources, each.counted) for each in traffic.refusals.of_model("m")]
    assert shown == [("b", "type/y", ("models/m/versions/v2",), True), ("a", "type/x", ("models/m",), False)]
