"""Sizes of many workloads of one model at once, in NumPy arrays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from echoplaned import _allocator
from echoplaned.core.spec import ALL_DEFAULTS, ShapeRequest
from echoplaned.planning._translate import translate_errors
from echoplaned.planning.inspection import Checkpoint
from echoplaned.planning.options import native_request
from echoplaned.planning.sizing import complete_shape, open_source

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def size_batch(
    source: Path | Checkpoint,
    context_lengths: NDArray[np.uint64],
    max_concurrencies: NDArray[np.uint64],
    asked: ShapeRequest = ALL_DEFAULTS,
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Size many workloads of one model: the bytes of the fullest rank, one row each.

    Returns the expected and the upper bytes, as `size_model` would. The columns, contiguous and of shape [n], are read in place and
    in parallel, without the interpreter; they stand for what ``asked`` says of context and sequences. A row that cannot be had holds
    2**64 - 1 in both results: more than any device.

    Raises:
        FieldInvalidError: the columns differ in length, or a name is unknown.
        DaemonError: what reading ``source`` raises.
    """
    checkpoint = open_source(source)
    shape = replace(complete_shape(checkpoint, asked), context_length=1, max_concurrency=1)
    with translate_errors():
        return _allocator.size_batch(checkpoint.native, native_request(shape), context_lengths, max_concurrencies)
