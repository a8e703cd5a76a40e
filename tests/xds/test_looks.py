"""How much of a subscription is looked at: as much as a request or a snapshot may have changed, and nothing is missed by that."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from echoplaned.xds.names import GATEWAY, ResourceType
from echoplaned.xds.resources import Resource
from echoplaned.xds.snapshot import EMPTY, build, diff
from echoplaned.xds.stream import Stream, StreamNode
from echoplaned.xds.stream_delta import DeltaRequest, DeltaStream
from echoplaned.xds.subscriptions import SPARE_SUSPECTS
from tests.xds import xds_harness as h

CDS, EDS, LDS, ECDS, RDS = ResourceType
TOTAL = 1_000_000
MANY = 3_000


def names(kind: ResourceType, count: int = MANY) -> tuple[str, ...]:
    """Return made-up names that nobody publishes."""
    return tuple(f"{kind.name}-{number}" for number in range(count))


def ask(stream: DeltaStream, request: DeltaRequest) -> list[Any]:
    """Take a request in, and accept what is due after it."""
    stream.receive(request)
    pushes = stream.pushes()
    for push in pushes:
        stream.receive(DeltaRequest(push.type, nonce=push.nonce))
    return pushes


def cpu_of_clusters(kind: ResourceType) -> float:
    """Return the CPU seconds of asking for many made-up clusters beside as many made-up names of a type: the least of three."""
    found: list[float] = []
    for _ in range(3):
        stream = DeltaStream(EMPTY, StreamNode("c"))
        ask(stream, DeltaRequest(kind, names(kind)))
        begin_s = time.process_time()
        ask(stream, DeltaRequest(CDS, names(CDS)))
        found.append(time.process_time() - begin_s)
    return min(found)


def test_made_up_clusters_cost_the_same_beside_made_up_routes() -> None:
    """No cluster is looked for in each of the routes: beside routes they cost what they cost beside listeners."""
    assert cpu_of_clusters(RDS) < 5 * cpu_of_clusters(LDS)


@pytest.mark.parametrize("wildcard", [False, True])
def test_one_name_costs_one(monkeypatch: pytest.MonkeyPatch, wildcard: bool) -> None:
    """A request for one name that is subscribed already looks at that name, and at none of the thousands beside it."""
    stream = DeltaStream(EMPTY, StreamNode("c"))
    ask(stream, DeltaRequest(RDS, names(RDS)))
    ask(stream, DeltaRequest(CDS, (*names(CDS), *(["*"] if wildcard else []))))
    looked: list[str] = []
    find_served = Stream.find_served

    def count(self: Stream, kind: ResourceType, name: str) -> Resource | None:
        looked.append(name)
        return find_served(self, kind, name)

    monkeypatch.setattr(Stream, "find_served", count)
    for kind in (CDS, RDS):
        (push,) = ask(stream, DeltaRequest(kind, (f"{kind.name}-7",)))
        assert push.removed == (f"{kind.name}-7",)
    assert looked == ["CLUSTER-7", "ROUTE-7"]


def test_suspects_are_bounded() -> None:
    """A client that answers nothing, and asks for other names again and again, leaves no more suspects than it has names."""
    stream = DeltaStream(EMPTY, StreamNode("c"))
    stream.receive(DeltaRequest(CDS, ("*", "first")))
    assert len(stream.pushes()) == 1
    for number in range(20 * SPARE_SUSPECTS):
        stream.receive(DeltaRequest(CDS, (f"c{number}",), (f"c{number - 1}",)))
        assert len(stream.subscriptions[CDS].suspects) <= SPARE_SUSPECTS + 3
    stream.receive(DeltaRequest(CDS, nonce="1"))
    (push,) = stream.pushes()
    assert push.removed == (f"c{20 * SPARE_SUSPECTS - 1}",)


NAMES = {
    LDS: ["models/m", "*"],
    CDS: ["models/m/versions/a", "models/m/versions/b", "models/m/versions/c", "*", "nobody"],
    EDS: ["models/m/versions/a", "models/m/versions/b", "models/m/versions/c", "nobody"],
    RDS: ["models/m", GATEWAY, "models/m/versions/b", "nobody"],
}
KINDS = st.sampled_from(list(NAMES))
SOME = st.lists(st.integers(0, 4), max_size=3)
STEPS = st.one_of(
    st.tuples(st.just("ask"), KINDS, SOME, SOME, st.booleans()),
    st.tuples(st.just("answer"), KINDS, st.booleans()),
    st.tuples(st.just("publish"), st.sampled_from(["", "a", "ab", "b", "bc"]), st.integers(7001, 7002)),
)


def requests(step: tuple[Any, ...], streams: tuple[DeltaStream, ...]) -> Iterator[DeltaRequest]:
    """Yield what a step asks of the streams, which have the same in flight."""
    kind = step[1]
    if step[0] == "ask":
        asked, unasked = (tuple(NAMES[kind][n] for n in some if n < len(NAMES[kind])) for some in step[2:4])
        known = {name: "old" for name in asked if name != "*"} if step[4] else {}
        yield DeltaRequest(kind, asked, unasked, known)
    elif (push := streams[0].subscriptions[kind].in_flight) is not None:
        yield DeltaRequest(kind, nonce=push.nonce, error=None if step[2] else "no")


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_what_is_not_looked_at_was_not_due(steps: list[tuple[Any, ...]]) -> None:
    """Whatever clients ask, accept and refuse, a stream sends what one sends that looks at all of its names every time."""
    snapshot = EMPTY
    streams = (DeltaStream(snapshot, StreamNode("c")), DeltaStream(snapshot, StreamNode("c")))
    for epoch, step in enumerate(steps):
        if step[0] == "publish":
            clusters = {each: (TOTAL // len(step[1]), [f"127.0.0.1:{step[2]}"]) for each in step[1]}
            before, snapshot = snapshot, build({"m": h.routes("m", epoch, **clusters)}, snapshot)
            for stream in streams:
                stream.replace_snapshot(snapshot, diff(before, snapshot))
        else:
            for request in requests(step, streams):
                for stream in streams:
                    stream.receive(request)
        for kind, subscription in streams[1].subscriptions.items():
            subscription.look_at_all = True
            subscription.dirty = True
            assert subscription.names == streams[0].subscriptions[kind].names
        sent, wanted = (
            [(each.type, each.removed, [(one.name, one.version) for one in each.resources]) for each in stream.pushes()]
            for stream in streams
        )
        assert sent == wanted
