"""Vectors in bins, from NumPy arrays."""

from __future__ import annotations

import numpy as np
import pytest

from echoplaned.core.errors import FieldInvalidError
from echoplaned.planning.packing import pack_vectors

BIN = np.array([1000, 1000], dtype=np.uint64)


def vectors(count: int, seed: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint64]]:
    """Return U[100, 400] in two dimensions."""
    return np.random.default_rng(seed).integers(100, 401, size=(count, 2), dtype=np.uint64)


def test_fifty_vectors_reach_the_bound() -> None:
    """Nearly every random instance of 50 is packed into as few bins as there can be, and no bin is too full."""
    at_bound = 0
    for seed in range(10):
        sizes = vectors(50, seed)
        packing = pack_vectors(sizes, BIN, seed=seed)
        at_bound += packing.count == packing.lower_bound
        for number in range(packing.count):
            assert (sizes[packing.bins == number].sum(axis=0) <= BIN).all()
        again = pack_vectors(sizes, BIN, seed=seed)
        assert (again.bins == packing.bins).all()
    assert at_bound >= 8


@pytest.mark.parametrize(
    ("sizes", "match"),
    [
        (np.ones((3, 3), dtype=np.uint64), "width"),
        (np.full((1, 2), 1001, dtype=np.uint64), "larger than a bin"),
        (np.asfortranarray(vectors(4, 0)), "C order"),
    ],
)
def test_tables_that_are_none(sizes: np.ndarray[tuple[int, int], np.dtype[np.uint64]], match: str) -> None:
    """Shapes, sizes and order are checked before anything is read."""
    with pytest.raises(FieldInvalidError, match=match):
        pack_vectors(sizes, BIN)


def test_other_types_are_refused() -> None:
    """Nothing is converted behind the caller's back."""
    with pytest.raises(TypeError):
        pack_vectors(np.ones((3, 2)), BIN)  # type: ignore[arg-type]
