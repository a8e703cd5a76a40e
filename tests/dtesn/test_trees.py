"""Rooted trees from Python."""

from __future__ import annotations

import math

import pytest

from echoplaned.dtesn import errors, trees

COUNTS = (1, 1, 2, 4, 9, 20, 48, 115, 286, 719, 1842, 4766)


@pytest.mark.parametrize("order", range(1, 13))
def test_counts_and_both_identities(order: int) -> None:
    """A000081 counts the trees, and sums over them of n!/(sigma gamma) and n!/sigma are exact."""
    listed = trees.all_trees(order)
    assert len(set(listed)) == len(listed) == trees.count(order) == COUNTS[order - 1]
    total = math.factorial(order)
    assert sum(total // (trees.symmetry(tree) * trees.density(tree)) for tree in listed) == math.factorial(order - 1)
    assert sum(total // trees.symmetry(tree) for tree in listed) == order ** (order - 1)


def test_ranks_are_a_bijection() -> None:
    """Every rank has its tree, and the tree that rank."""
    assert {trees.rank(tree) for tree in trees.all_trees(9)} == set(range(286))
    assert all(trees.rank(trees.from_rank(32, rank)) == rank for rank in (0, 12345, trees.count(32) - 1))


def test_a_seed_is_a_tree() -> None:
    """The same seed draws the same tree."""
    assert trees.random_tree(32, 5) == trees.random_tree(32, 5)
    assert len({trees.random_tree(32, seed) for seed in range(20)}) == 20


def test_bad_trees_have_their_errors() -> None:
    """No tree, a wrong order and a wrong rank are told apart, and all are `DtesnError`."""
    for levels in ([], [2], [1, 3], [1, 2, 1]):
        with pytest.raises(errors.LevelsInvalidError):
            trees.canonical(levels)
    with pytest.raises(errors.OrderInvalidError, match="order 65 is outside 1 to 64"):
        trees.count(65)
    with pytest.raises(errors.OrderInvalidError, match="order 16 has 235381 trees"):
        trees.all_trees(16)
    with pytest.raises(errors.RankInvalidError):
        trees.from_rank(5, 9)
    with pytest.raises(errors.ValueOverflowError):
        trees.density(range(1, 60))
    with pytest.raises(errors.DtesnError):
        trees.default_tree(3, 4)
    assert trees.canonical([1, 2, 2, 3]) == (1, 2, 3, 2)
