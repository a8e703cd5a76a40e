"""Where items go on nodes with GPUs.

One arrival at a time, a batch at once, and bounded moves that make room.

A library of its own: nothing here knows the daemon's state. Equal calls and equal seeds give equal answers. Bytes are bytes,
compute and CPU are thousandths (of one GPU, of one core), times are seconds. Functions block, and release the interpreter.

A place is judged by what it spoils: siblings on the node, GPU capacity that its host could no longer feed, and capacity that the
expected arrivals could no longer use (after Weng et al., "Beware of Fragmentation", USENIX ATC 2023), in steps of 0.05 GPU.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from echoplaned import _allocator
from echoplaned.planning._translate import translate_errors

_NativePlace = tuple[str, list[int]]
_NativeMove = tuple[str, _NativePlace, _NativePlace, int, int]
_MS_PER_S = 1000
_MAX_INT64 = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU, by what items may have of it.

    Attributes:
        model: name of its model; the ranks of one item lie on GPUs of one model.
        memory_bytes: memory that items may have; 0: not accounted for.
        compute_milli: compute that items may have, thousandths of the GPU; 0: not accounted for.
    """

    model: str
    memory_bytes: int
    compute_milli: int = 1000


@dataclass(frozen=True, slots=True)
class FleetNode:
    """One machine with its GPUs.

    Attributes:
        node_id: unique name.
        cpu_milli: thousandths of a core that items may have.
        host_bytes: host memory that items may have.
        gpus: its GPUs, at most 32.
    """

    node_id: str
    cpu_milli: int
    host_bytes: int
    gpus: tuple[Gpu, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that needs a place, for example an instance of a model.

    Attributes:
        item_id: unique name.
        ranks: GPUs that it takes at once, on one node and of one model (tensor-parallel ranks); 0: none.
        memory_bytes: GPU memory of each rank.
        compute_milli: compute of each rank, thousandths of a GPU.
        cpu_milli: CPU, thousandths of a core.
        host_bytes: host memory.
        models: GPU models that it can use; empty: any.
        group: name that siblings (a version's replicas) share; they are spread over nodes as well as may be; None: no siblings.
        apart: whether no two items of the group may share a node.
        node_id: the one node that it may be on; None: any.
        pinned: whether it is never moved and never pushed out.
        priority: a higher one is placed first, and may push out a lower one (`Fleet.find_preemption`).
        surge: whether room is kept for one more copy of it, as a rolling update needs.
        reload_s: what moving it costs, seconds until it serves again.
    """

    item_id: str
    ranks: int = 1
    memory_bytes: int = 0
    compute_milli: int = 0
    cpu_milli: int = 0
    host_bytes: int = 0
    models: tuple[str, ...] = ()
    group: str | None = None
    apart: bool = False
    node_id: str | None = None
    pinned: bool = False
    priority: int = 0
    surge: bool = False
    reload_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where an item lies.

    Attributes:
        node_id: its node.
        gpus: numbers of its GPUs on the node, from 0, ascending; empty: it takes none.
    """

    node_id: str
    gpus: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RepackLimits:
    """How far a search for moves may go; equal seeds give equal answers.

    Attributes:
        max_moves: moves at most.
        max_cost_s: seconds of reload of all moves together, at most; infinity: no limit.
        seed: seed of the search.
    """

    max_moves: int = 8
    max_cost_s: float = math.inf
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Move:
    """One item's way from one place to another.

    Attributes:
        item_id: the item.
        origin: where it is.
        target: where it goes.
        cost_s: seconds of its reload.
        gain_milli: thousandths of GPUs that become useful; below 0 where the move only makes room.
    """

    item_id: str
    origin: Place
    target: Place
    cost_s: float
    gain_milli: int


@dataclass(frozen=True, slots=True)
class Repack:
    """Moves that make free capacity useful.

    Attributes:
        moves: the moves, in the order in which they are to be made.
        before_milli: thousandths of GPUs that are free and of no use (fragmented or stranded) before the moves.
        after_milli: the same after the moves.
    """

    moves: tuple[Move, ...]
    before_milli: int
    after_milli: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Where the items of a batch went.

    Attributes:
        places: a place for each item, in the items' order; None: no room.
        moves: moves of what lay there before, in order; the fleet has made them already.
    """

    places: tuple[Place | None, ...]
    moves: tuple[Move, ...]


@dataclass(frozen=True, slots=True)
class Preemption:
    """Items of lower priority on one node that would have to go for another.

    Attributes:
        node_id: the node that they leave.
        item_ids: the items, the cheapest to bring back first.
        cost_s: seconds of reload of all of them together.
    """

    node_id: str
    item_ids: tuple[str, ...]
    cost_s: float


class Fleet:
    """Nodes with what lies on them.

    Safe to use from several threads; calls take turns.
    The order of the nodes matters: among equally good ones the first is taken.

    Raises (every method): `FieldInvalidError` for two nodes or items of one name, an unknown node or item, an item that asks for
    what cannot be; ``OverflowError`` for numbers below 0 or beyond 64 bits.
    """

    __slots__ = ("_native",)

    def __init__(
        self, nodes: Iterable[FleetNode], *, expected: Iterable[Item] = (), expected_share_percent: int = 95
    ) -> None:
        """Make an empty fleet.

        Args:
            nodes: the machines.
            expected: items like those that are likely to arrive, each as often as it is likely; none: fragmentation is not
                looked at.
            expected_share_percent: how much of ``expected`` counts; the rarest are left out.
        """
        with translate_errors():
            self._native = _allocator.Fleet([_native_node(node) for node in nodes])
            self._native.expect([_native_item(item) for item in expected], expected_share_percent)

    def place(self, item: Item) -> Place | None:
        """Find the best place for an item and take it; None: no room."""
        with translate_errors():
            return _optional(self._native.place(_native_item(item)))

    def put(self, item: Item, place: Place) -> None:
        """Enter an item that lies somewhere already; only capacity is checked."""
        with translate_errors():
            self._native.put(_native_item(item), place.node_id, list(place.gpus))

    def remove(self, item_id: str) -> None:
        """Take an item away."""
        with translate_errors():
            self._native.remove(item_id)

    def whereabouts(self, item_id: str) -> Place | None:
        """Return where an item lies."""
        return _optional(self._native.whereabouts(item_id))

    def has_room(self, item: Item) -> bool:
        """Return whether some node has what the item needs.

        Whatever else speaks against the node does not count.
        """
        with translate_errors():
            return self._native.has_room(_native_item(item))

    def place_all(self, items: Sequence[Item], limits: RepackLimits = RepackLimits(max_moves=0)) -> Batch:
        """Place a batch: higher priorities first, then larger items.

        Where one finds no room, others are moved within the limits.
        """
        with translate_errors():
            natives = [_native_item(item) for item in items]
            places, moves = self._native.place_all(natives, *_native_limits(limits))
        return Batch(tuple(_optional(place) for place in places), _moves(moves))

    def repack(self, limits: RepackLimits = RepackLimits()) -> Repack:
        """Plan moves that make free capacity useful, without making them.

        The most useful per second of reload come first; nothing moves twice.
        """
        moves, before_milli, after_milli = self._native.repack(*_native_limits(limits))
        return Repack(_moves(moves), before_milli, after_milli)

    def apply(self, moves: Iterable[Move]) -> None:
        """Make the moves of a plan, in order.

        Each item has its new place before it leaves the old one.
        """
        with translate_errors():
            self._native.apply([_native_move(move) for move in moves])

    def make_room(self, item: Item, limits: RepackLimits = RepackLimits()) -> tuple[Place, tuple[Move, ...]] | None:
        """Plan the cheapest moves found after which an item fits, and its place.

        None: there are none within the limits.
        """
        with translate_errors():
            found = self._native.make_room(_native_item(item), *_native_limits(limits))
        return None if found is None else (_place(found[0]), _moves(found[1]))

    def find_preemption(self, item: Item) -> Preemption | None:
        """Return the cheapest items of lower priority that would have to go.

        None: the item has room, or nothing helps.
        """
        with translate_errors():
            found = self._native.victims(_native_item(item))
        return None if found is None else Preemption(found[0], tuple(found[1]), found[2] / _MS_PER_S)

    @property
    def free_milli(self) -> int:
        """Thousandths of GPUs that are free."""
        return self._native.free_milli

    @property
    def fragmented_milli(self) -> int:
        """Free thousandths of GPUs that the expected arrivals could not use."""
        return self._native.fragmented_milli

    @property
    def stranded_milli(self) -> int:
        """Free thousandths of GPUs that their hosts could not feed with CPU and memory."""
        return self._native.stranded_milli

    def __len__(self) -> int:
        """Return how many items lie somewhere."""
        return len(self._native)


def place_items(nodes: Iterable[FleetNode], items: Sequence[Item]) -> tuple[Place | None, ...]:
    """Place items on empty nodes, all at once.

    They are also what is expected to arrive.
    Items that find no room make the others move over, as none of them has been started yet.

    Raises:
        FieldInvalidError: two nodes or items of one name, an item that asks for what cannot be.
    """
    fleet = Fleet(nodes, expected=items)
    return fleet.place_all(items, RepackLimits(max_moves=len(items))).places


def _native_node(node: FleetNode) -> tuple[str, int, int, list[tuple[str, int, int]]]:
    gpus = [(gpu.model, gpu.memory_bytes, gpu.compute_milli) for gpu in node.gpus]
    return node.node_id, node.cpu_milli, node.host_bytes, gpus


def _native_item(item: Item) -> _allocator.Item:
    return _allocator.Item(
        item.item_id,
        ranks=item.ranks,
        memory_bytes=item.memory_bytes,
        compute_milli=item.compute_milli,
        cpu_milli=item.cpu_milli,
        host_bytes=item.host_bytes,
        models=list(item.models),
        group=item.group,
        apart=item.apart,
        node=item.node_id,
        pinned=item.pinned,
        priority=item.priority,
        surge=item.surge,
        reload_ms=round(item.reload_s * _MS_PER_S),
    )


def _native_limits(limits: RepackLimits) -> tuple[int, int, int]:
    cost_ms = _MAX_INT64 if math.isinf(limits.max_cost_s) else round(limits.max_cost_s * _MS_PER_S)
    return limits.max_moves, cost_ms, limits.seed


def _native_move(move: Move) -> _NativeMove:
    origin = (move.origin.node_id, list(move.origin.gpus))
    target = (move.target.node_id, list(move.target.gpus))
    return move.item_id, origin, target, round(move.cost_s * _MS_PER_S), move.gain_milli


def _place(native: _NativePlace) -> Place:
    return Place(native[0], tuple(native[1]))


def _optional(native: _NativePlace | None) -> Place | None:
    return None if native is None else _place(native)


def _moves(natives: Iterable[_NativeMove]) -> tuple[Move, ...]:
    return tuple(
        Move(item_id, _place(origin), _place(target), cost_ms / _MS_PER_S, gain_milli)
        for item_id, origin, target, cost_ms, gain_milli in natives
    )
