"""Packing of vectors into as few equal bins as possible.

NumPy arrays are read where they lie.
Apart from `echoplaned.planning`, which never imports NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echoplaned import _allocator
from echoplaned.planning._translate import translate_errors


@dataclass(frozen=True, slots=True)
class Packing:
    """Items in bins.

    Attributes:
        bins: shape (items,), the bin of each item, from 0.
        count: number of bins used.
        lower_bound: number of bins below which no packing exists.
    """

    bins: npt.NDArray[np.uint32]
    count: int
    lower_bound: int


def pack_vectors(
    sizes: npt.NDArray[np.uint64], capacity: npt.NDArray[np.uint64], *, rounds: int = 20_000, seed: int = 0
) -> Packing:
    """Pack items into as few bins as a bounded search finds.

    Equal seeds give equal packings.
    Bin completion, then bins are dissolved one by one (Buljubasic and Vasquez, Computers & Operations Research 76, 2016).

    Args:
        sizes: shape (items, dimensions), C order, each amount at most 2**48; any unit.
        capacity: shape (dimensions,), of one bin, in the same unit.
        rounds: steps of the search; one takes about 15 microseconds.
        seed: of the search.

    Raises:
        FieldInvalidError: no dimension, shapes that do not agree, arrays not in C order, an item larger than a bin.
        TypeError: arrays of another type or number of dimensions.
    """
    with translate_errors():
        bins, count, lower_bound = _allocator.pack(sizes, capacity, rounds, seed)
    return Packing(bins, count, lower_bound)
