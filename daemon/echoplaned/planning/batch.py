"""Many workloads of one model at once, in NumPy's arrays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from echoplaned import _allocator
from echoplaned.core.facts import Dtype
from echoplaned.engine_kinds import DEFAULT_KIND
from echoplaned.planning._translate import translated
from echoplaned.planning.inspection import Checkpoint
from echoplaned.planning.options import EngineOptions, WeightFormat, format_name, native_request
from echoplaned.planning.sizing import open_source

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def size_batch(
    source: Path | Checkpoint,
    context_lengths: NDArray[np.uint64],
    max_concurrencies: NDArray[np.uint64],
    *,
    dtype: Dtype | WeightFormat | str | None = None,
    engine: str = DEFAULT_KIND.name,
    options: EngineOptions | None = None,
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return expected and upper bytes of the fullest rank, one of each a row, as `size_model` would.

    The columns, contiguous and of shape [n], are read in place and in parallel, without the interpreter. A row that cannot be had holds
    2**64 - 1 in both results: more than any device.

    Raises:
        FieldInvalidError: the columns differ in length, or a name is unknown.
        EchoplaneError: what reading ``source`` raises.
    """
    checkpoint = open_source(source)
    weights = checkpoint.weight_format if dtype is None else format_name(dtype)
    with translated():
        request = native_request(
            engine=engine, weights=weights, context_length=1, max_concurrency=1, options=options or EngineOptions()
        )
        return _allocator.size_batch(checkpoint.native, request, context_lengths, max_concurrencies)
