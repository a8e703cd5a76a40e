"""Which devices an instance takes: on eight cards, siblings apart and ranks together."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echoplaned.core.commands import LoadVersion, Request
from echoplaned.core.effects import PlaceInstance
from echoplaned.core.events import Event, InstancePlaced
from echoplaned.core.placement import DeviceShare
from echoplaned.core.plan import Device, Plan, RankMemory
from echoplaned.core.state import State
from echoplaned.planning import PlanRequest, inspect_checkpoint, place, plan_load
from echoplaned.planning.instance_planner import InstancePlanner
from echoplaned.planning.seats import seat, seat_all
from echoplaned.testing import builders
from echoplaned.testing.builders import GIB

CARDS = tuple(Device(f"cuda:{number}", "cuda", "H100", 80 * GIB, 8 * GIB) for number in range(8))


def reserve_all(state: State) -> State:
    """Place every instance that waits, one after another, as the loop does."""
    events: list[Event] = []
    planner = InstancePlanner(events.append, lambda: 0.0, _no_plan, lambda _key, _error: None)
    for version in [v for model in state.models.values() for v in model.versions.values()]:
        for instance in version.instances:
            planner.place(PlaceInstance(instance.key, state.reservation_epoch), state)
            placed = events.pop()
            assert isinstance(placed, InstancePlaced)
            state = builders.run(state, placed)
    return state


def _no_plan(question: object, state: State) -> Plan:
    raise AssertionError("everything has room")


def loaded(plan: Plan, devices: tuple[Device, ...] = CARDS) -> State:
    """Return a state in which a version with that plan waits for devices."""
    order = replace(builders.order(replicas=plan.replicas), plan=plan)
    return builders.run(State(devices=devices), LoadVersion(Request(0.0, "o1"), order))


@pytest.mark.parametrize("replicas", [4, 8, 12])
def test_reservations_are_where_the_plan_says(minilm: Path, replicas: int) -> None:
    """A plan's devices and those that its replicas get are the same, and no card has two while another has none."""
    request = PlanRequest(inspect_checkpoint(minilm), CARDS)
    plan = plan_load(replace(request, shape=replace(request.shape, replicas=replicas)))
    state = reserve_all(loaded(plan))
    got = [i.placement.device_ids for i in state.models["m"].versions["v1"].instances if i.placement is not None]
    assert tuple(device for devices in got for device in devices) == plan.device_ids
    counts = Counter(plan.device_ids)
    assert set(counts.values()) <= {replicas // 8, -(-replicas // 8)}
    assert len(counts) == min(replicas, 8)


def test_ranks_are_reserved_by_rank() -> None:
    """Two replicas of four ranks take eight cards, each with its own rank's bytes."""
    ranks = tuple(RankMemory(n * GIB, n * GIB) for n in (40, 30, 30, 35))
    plan = replace(builders.plan(replicas=2), ranks=ranks, upper_bytes=40 * GIB)
    state = reserve_all(loaded(plan))
    placements = [i.placement for i in state.models["m"].versions["v1"].instances]
    taken = [share for one in placements if one is not None for share in one.shares]
    assert [share.bytes // GIB for share in taken] == [40, 30, 30, 35] * 2
    assert len({share.device_id for share in taken}) == 8
    devices = seat_all(CARDS, {}, plan.rank_bytes, 2)
    assert devices == tuple(share.device_id for share in taken)
    assert replace(plan, device_ids=devices).placed_bytes() == Counter({s.device_id: s.bytes for s in taken})


def test_ranks_are_on_equal_cards() -> None:
    """Ranks work in step: a larger card beside a smaller one is no pair."""
    mixed = (*CARDS[:1], Device("cuda:8", "cuda", "A100", 80 * GIB, 0), Device("cuda:9", "cuda", "A100", 80 * GIB, 0))
    shares = seat(mixed, {}, (10, 10), {})
    assert shares == (DeviceShare("cuda:8", 10), DeviceShare("cuda:9", 10))
    assert seat(mixed[:2], {}, (10, 10), {}) is None


def test_a_host_is_one_device() -> None:
    """Two ranks do not share one."""
    assert seat((builders.device(),), {}, (10, 10), {}) is None


def test_siblings_share_only_where_nothing_else_fits() -> None:
    """A full card is passed over for one with a sibling; an emptier one without is preferred to the tightest."""
    held = {card.device_id: 70 * GIB for card in CARDS[2:]}
    assert seat(CARDS, held, (10 * GIB,), {"cuda:0": 1}) == (DeviceShare("cuda:1", 10 * GIB),)
    assert seat(CARDS, {**held, "cuda:1": 70 * GIB}, (10 * GIB,), {"cuda:0": 1}) == (DeviceShare("cuda:0", 10 * GIB),)
    assert seat(CARDS, {}, (73 * GIB,), {}) is None


@given(
    sizes=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 30)), min_size=1, max_size=8),
    needed=st.integers(1, 20),
    replicas=st.integers(1, 12),
)
@settings(max_examples=200, deadline=None)
def test_one_rank_goes_where_the_native_rule_puts_it(sizes: list[tuple[int, int]], needed: int, replicas: int) -> None:
    """Replicas placed one by one, each knowing its siblings, lie where the native module puts all of them at once."""
    devices = tuple(Device(f"d{n}", "cuda", f"kind{n % 2}", size, 0) for n, (size, _) in enumerate(sizes))
    held = {f"d{n}": taken for n, (_, taken) in enumerate(sizes)}
    assert seat_all(devices, held, (needed,), replicas) == place(devices, held, needed_bytes=needed, replicas=replicas)
