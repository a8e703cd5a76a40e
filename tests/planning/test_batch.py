"""Many workloads at once, in arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from echoplaned.core.errors import FieldInvalidError
from echoplaned.core.spec import ShapeRequest
from echoplaned.planning import find_fitting, inspect_checkpoint, size_batch, size_model

IMPOSSIBLE = 2**64 - 1


def test_rows_are_what_single_plans_say(minilm: Path) -> None:
    """Every row equals its own plan; what cannot be had is larger than any device; several threads keep the order."""
    checkpoint = inspect_checkpoint(minilm, with_digest=False)
    rng = np.random.default_rng()
    contexts = rng.integers(0, 520, 10_000, dtype=np.uint64)
    sequences = rng.integers(0, 40, 10_000, dtype=np.uint64)
    expected, upper = size_batch(checkpoint, contexts, sequences)
    for row in rng.integers(0, 10_000, 200):
        context, concurrency = int(contexts[row]), int(sequences[row])
        if not (1 <= context <= 512 and concurrency):
            assert expected[row] == upper[row] == IMPOSSIBLE
            continue
        one = size_model(checkpoint, ShapeRequest(context_length=context, max_concurrency=concurrency))
        assert (int(expected[row]), int(upper[row])) == (one.bytes, one.upper_bytes)


def test_columns_of_unequal_length(minilm: Path) -> None:
    """A column that is too short is refused, and named."""
    column = np.ones(3, dtype=np.uint64)
    with pytest.raises(FieldInvalidError, match="3 contexts and 2 concurrencies"):
        size_batch(minilm, column, column[:2])
    with pytest.raises(TypeError):
        size_batch(minilm, column.astype(np.int32), column)


def test_what_fits_into_so_many_bytes(minilm: Path) -> None:
    """The most sequences that fit do, and one more does not."""
    checkpoint = inspect_checkpoint(minilm, with_digest=False)
    sized = size_model(checkpoint, ShapeRequest(context_length=128, max_concurrency=1))
    free = size_model(checkpoint, ShapeRequest(context_length=128, max_concurrency=11)).upper_bytes
    context, concurrency = find_fitting(checkpoint, sized, free)
    assert concurrency == 11
    assert 128 <= context <= 512
    assert find_fitting(checkpoint, sized, 0) == (0, 0)
