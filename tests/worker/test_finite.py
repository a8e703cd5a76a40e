"""Weights that are NaN or infinite are found, large ones are no such weights."""

from __future__ import annotations

import math

import pytest
import torch

from echoplaned.worker.finite import check_finite
from echoplaned.worker_contract.inference.errors import LoadError


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_what_is_not_finite_is_named(value: float, dtype: torch.dtype) -> None:
    """One value among many is enough, in every dtype."""
    weights = torch.ones(1000, dtype=dtype)
    weights[777] = value
    with pytest.raises(LoadError, match="weights of a layer are not finite"):
        check_finite("a layer", weights)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_sum_that_overflows_is_no_fault(dtype: torch.dtype) -> None:
    """The largest values that a dtype has are finite, however many there are."""
    check_finite("a layer", torch.full((1000,), torch.finfo(dtype).max, dtype=dtype))


def test_whole_numbers_and_nothing_are_finite() -> None:
    """A table of positions and an empty weight pass."""
    check_finite("positions", torch.arange(7))
    check_finite("nothing", torch.zeros(0))
