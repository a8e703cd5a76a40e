"""Fleets of nodes: places, constraints, moves, and what is refused."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echoplaned import _allocator
from echoplaned.core.errors import FieldInvalidError
from echoplaned.planning.placement import Fleet, FleetNode, Gpu, Item, Move, Place, RepackLimits, place_items

GIB = 2**30


def node(node_id: str, *models: str) -> FleetNode:
    """Return a node with 64 cores, 512 GiB and GPUs of 80 GiB."""
    return FleetNode(node_id, 64_000, 512 * GIB, tuple(Gpu(model, 80 * GIB) for model in models))


def item(item_id: str, gib: int, ranks: int = 1) -> Item:
    """Return an item that reloads in a second and a half."""
    return Item(item_id, ranks=ranks, memory_bytes=gib * GIB, cpu_milli=1000, reload_s=1.5)


def test_ranks_take_equal_gpus_of_one_node() -> None:
    """Two ranks skip the odd GPU between them, and four do not spread over nodes."""
    fleet = Fleet([node("mixed", "A", "B", "A"), node("same", "B", "B")])
    assert fleet.place(item("two", 70, ranks=2)) == Place("mixed", (0, 2))
    assert fleet.place(item("four", 70, ranks=4)) is None
    assert fleet.whereabouts("two") == Place("mixed", (0, 2))
    assert fleet.whereabouts("four") is None
    assert len(fleet) == 1


def test_siblings_apart_pins_and_models() -> None:
    """Replicas never share a node where they are apart; a bound item goes to its node, a picky one to its GPU model."""
    fleet = Fleet([node("a", "A"), node("b", "A", "B")])
    apart = replace(item("1", 10), group="m/v1", apart=True)
    assert {fleet.place(apart), fleet.place(replace(apart, item_id="2"))} == {Place("a", (0,)), Place("b", (0,))}
    assert fleet.place(replace(apart, item_id="3")) is None
    assert fleet.place(replace(item("4", 10), node_id="b")) == Place("b", (0,))
    assert fleet.place(replace(item("5", 10), models=("B",))) == Place("b", (1,))


def test_spread_replicas_take_another_node_while_there_is_one() -> None:
    """Siblings without ``apart`` share a node only when each has one."""
    fleet = Fleet([node("a", "A", "A"), node("b", "A", "A")])
    places = [fleet.place(replace(item(str(number), 10), group="m/v1")) for number in range(3)]
    assert [place.node_id for place in places if place] == ["a", "b", "a"]


def test_a_surge_copy_keeps_its_room() -> None:
    """Nothing takes the last place that a rolling update would need."""
    fleet = Fleet([node("a", "A"), node("b", "A")])
    assert fleet.place(replace(item("served", 60), surge=True)) is not None
    assert fleet.place(item("other", 60)) is None
    assert fleet.has_room(item("other", 60))
    fleet.remove("served")
    assert fleet.place(item("other", 60)) is not None


def test_a_repack_is_a_plan_with_its_costs() -> None:
    """Moves say where from, where to, what they cost and gain; the fleet changes when they are applied, and not before."""
    fleet = Fleet([node("a", "A"), node("b", "A")], expected=[item("", 80)])
    fleet.put(item("1", 30), Place("a", (0,)))
    fleet.put(item("2", 30), Place("b", (0,)))
    plan = fleet.repack()
    assert plan == fleet.repack()
    (move,) = plan.moves
    assert move.cost_s == 1.5
    assert move.gain_milli == plan.before_milli - plan.after_milli > 0
    assert fleet.whereabouts(move.item_id) == move.origin
    assert fleet.place(item("whole", 80)) is None
    assert fleet.repack(RepackLimits(max_cost_s=1.4)).moves == ()
    assert fleet.repack(RepackLimits(max_moves=0)).moves == ()
    fleet.apply(plan.moves)
    assert fleet.fragmented_milli + fleet.stranded_milli == plan.after_milli
    assert fleet.place(item("whole", 80)) == move.origin
    with pytest.raises(FieldInvalidError, match="does not fit") as caught:
        fleet.apply(plan.moves)
    assert isinstance(caught.value.__cause__, _allocator.PlaceInvalidError)


def test_room_and_preemption() -> None:
    """Room is made by moving what is cheap; of those of lower priority the cheapest would go; a pinned item does neither."""
    fleet = Fleet([node("a", "A"), node("b", "A")])
    fleet.put(replace(item("slow", 30), reload_s=9.0), Place("a", (0,)))
    fleet.put(item("quick", 30), Place("b", (0,)))
    wanted = replace(item("whole", 80), priority=1)
    found = fleet.make_room(wanted)
    assert found is not None
    place, moves = found
    assert (place, [move.item_id for move in moves]) == (Place("b", (0,)), ["quick"])
    assert fleet.make_room(wanted, RepackLimits(max_cost_s=1.0)) is None
    preemption = fleet.find_preemption(wanted)
    assert preemption is not None
    assert (preemption.node_id, preemption.item_ids, preemption.cost_s) == ("b", ("quick",), 1.5)
    batch = fleet.place_all([wanted], RepackLimits())
    assert (batch.places, batch.moves) == ((place,), moves)
    pinned = Fleet([node("a", "A")])
    pinned.put(replace(item("1", 30), pinned=True), Place("a", (0,)))
    assert pinned.find_preemption(wanted) is None
    assert pinned.make_room(wanted) is None


def test_a_batch_on_empty_nodes() -> None:
    """What fits only in another order fits as a batch: large items first."""
    items = [item("1", 30), item("2", 50), item("3", 80)]
    places = place_items([node("a", "A"), node("b", "A")], items)
    assert None not in places
    assert places[0] == places[1] != places[2]
    assert place_items([node("a", "A")], [item("1", 81)]) == (None,)
    assert place_items([], []) == ()


@pytest.mark.parametrize(
    ("nodes", "placed", "match"),
    [
        ([node("a"), node("a")], [], "twice"),
        ([node("a", *["A"] * 33)], [], "32 GPUs"),
        ([node("a", "A")], [item("1", 1), item("1", 1)], "placed already"),
        ([node("a", "A")], [item("1", 1, ranks=33)], "more ranks"),
        ([node("a", "A")], [item("1", 1, ranks=0)], "without a rank"),
        ([node("a", "A")], [replace(item("1", 1), node_id="z")], "node z is unknown"),
    ],
)
def test_nonsense_is_refused(nodes: list[FleetNode], placed: list[Item], match: str) -> None:
    """Each has its message, and its own native class as the cause."""

    def run() -> None:
        fleet = Fleet(nodes)
        for one in placed:
            fleet.place(one)

    with pytest.raises(FieldInvalidError, match=match) as caught:
        run()
    assert isinstance(caught.value.__cause__, _allocator.AllocatorError)
    assert type(caught.value.__cause__) is not _allocator.AllocatorError


def test_numbers_beyond_their_range_are_refused() -> None:
    """Negative numbers are Python's own error; items that nobody placed are ours."""
    fleet = Fleet([node("a", "A")])
    with pytest.raises(OverflowError):
        fleet.place(replace(item("1", 1), memory_bytes=-1))
    with pytest.raises(OverflowError):
        fleet.place(replace(item("1", 1), cpu_milli=2**64))
    with pytest.raises(FieldInvalidError, match="not placed"):
        fleet.remove("1")
    with pytest.raises(FieldInvalidError, match="not placed"):
        fleet.apply([Move("1", Place("a", (0,)), Place("a", (0,)), 0.0, 0)])


def test_threads_take_turns() -> None:
    """Four threads that place at once never overcommit a GPU."""
    fleet = Fleet([node(str(number), "A", "A") for number in range(8)])
    found: list[Place | None] = []

    def fill(first: int) -> None:
        found.extend(fleet.place(item(f"{first}.{number}", 30)) for number in range(16))

    threads = [threading.Thread(target=fill, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(place is not None for place in found) == 32
    assert all(found.count(place) == 2 for place in found if place is not None)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 80), st.integers(0, 70_000)), max_size=12),
    seed=st.integers(0, 2**64 - 1),
)
def test_batches_never_overcommit(sizes: list[tuple[int, int, int]], seed: int) -> None:
    """Whatever is asked, what was placed fits its GPUs and its host, and equal seeds give equal answers."""
    items = [
        Item(str(number), ranks=ranks, memory_bytes=gib * GIB if ranks else 0, cpu_milli=cpu)
        for number, (ranks, gib, cpu) in enumerate(sizes)
    ]
    nodes = [node("a", "A", "A"), node("b", "A", "B", "B")]
    limits = RepackLimits(max_moves=3, seed=seed)
    batch = Fleet(nodes, expected=items).place_all(items, limits)
    assert batch == Fleet(nodes, expected=items).place_all(items, limits)
    for one in nodes:
        here = [
            (it, place) for it, place in zip(items, batch.places, strict=True) if place and place.node_id == one.node_id
        ]
        assert sum(it.cpu_milli for it, _ in here) <= one.cpu_milli
        for number, gpu in enumerate(one.gpus):
            assert sum(it.memory_bytes for it, place in here if number in place.gpus) <= gpu.memory_bytes
        for it, place in here:
            assert len(place.gpus) == it.ranks
            assert len({one.gpus[number].model for number in place.gpus}) <= 1
