"""Rooted trees as canonical level sequences.

A level sequence has the levels of the nodes in preorder, the root on level 1.

Of all orders of the children the canonical sequence is the largest (Beyer, Hedetniemi, SIAM J. Comput. 9, 1980). The number
of trees by nodes is sequence A000081: 1, 1, 2, 4, 9, 20, 48, 115, 286, 719, 1842, 4766, …
"""

from __future__ import annotations

from collections.abc import Sequence

from echoplaned import _allocator
from echoplaned.dtesn._numbers import whole_numbers


@whole_numbers
def canonical(levels: Sequence[int]) -> tuple[int, ...]:
    """Return the canonical level sequence of a tree.

    The tree is given with its children in any order.

    Raises:
        LevelsInvalidError: it is no level sequence of one tree, or has more than 1,024 nodes.
    """
    return tuple(_allocator.tree_canonical(list(levels)))


@whole_numbers
def symmetry(levels: Sequence[int]) -> int:
    """Return the order of the tree's group of automorphisms.

    Raises:
        LevelsInvalidError: as `canonical`.
        ValueOverflowError: it is over 128 bits.
    """
    return _allocator.tree_numbers(list(levels))[0]


@whole_numbers
def density(levels: Sequence[int]) -> int:
    """Return the product over all nodes of the number of nodes at and below.

    Raises:
        LevelsInvalidError: as `canonical`.
        ValueOverflowError: it is over 128 bits.
    """
    return _allocator.tree_numbers(list(levels))[1]


@whole_numbers
def count(order: int) -> int:
    """Return how many trees of ``order`` nodes there are, 1 to 64.

    Raises:
        OrderInvalidError: the order is outside.
    """
    return _allocator.tree_count(order)


@whole_numbers
def all_trees(order: int) -> list[tuple[int, ...]]:
    """Return all trees of ``order`` nodes, 1 to 15, from the path to the star.

    Raises:
        OrderInvalidError: there are too many; the message has their count.
    """
    return [tuple(levels) for levels in _allocator.tree_list(order)]


@whole_numbers
def rank(levels: Sequence[int]) -> int:
    """Return the tree's place among those of its order, from 0.

    The order is by the sizes of their subtrees.

    Raises:
        LevelsInvalidError: as `canonical`.
        OrderInvalidError: it has more than 64 nodes.
    """
    return _allocator.tree_rank(list(levels))


@whole_numbers
def from_rank(order: int, rank: int) -> tuple[int, ...]:
    """Return the tree of ``order`` nodes at a place; the inverse of `rank`.

    Raises:
        OrderInvalidError: the order is outside 1 to 64.
        RankInvalidError: there are not so many trees.
    """
    return tuple(_allocator.tree_from_rank(order, rank))


@whole_numbers
def random_tree(order: int, seed: int) -> tuple[int, ...]:
    """Return a tree drawn uniformly from all of ``order`` nodes, 1 to 64.

    Raises:
        OrderInvalidError: the order is outside.
    """
    return tuple(_allocator.tree_random(order, seed))


@whole_numbers
def default_tree(nodes: int, depth: int) -> tuple[int, ...]:
    """Return the tree of membranes that a size class has.

    It is a spine, then each node where it keeps the tree even.

    Raises:
        LevelsInvalidError: there is no tree of so many nodes and levels.
    """
    return tuple(_allocator.tree_default(nodes, depth))
