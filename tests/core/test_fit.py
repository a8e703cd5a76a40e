"""What is said of a plan that does not fit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from echoplaned.core.errors import MemoryInsufficientError, SurgeInfeasibleError
from echoplaned.core.facts import Dtype
from echoplaned.core.fit import require_fit
from echoplaned.core.plan import Alternative, DeviceFit
from echoplaned.testing import builders

FULL = replace(
    builders.plan(2, 100), fits=False, device_ids=(), devices=(DeviceFit("a", 70, 200), DeviceFit("b", 0, 100))
)


def test_a_plan_that_fits_is_returned() -> None:
    """Nothing is said of it."""
    plan = builders.plan()
    assert require_fit(plan) is plan


def test_every_device_is_named_with_what_it_has() -> None:
    """A person sees what is needed, what is free where, and that nothing near it fits."""
    with pytest.raises(MemoryInsufficientError) as caught:
        require_fit(FULL)
    assert str(caught.value) == (
        "2 x 100 bytes do not fit (a has 70 of 200 bytes free; b has 0 of 100 bytes free); "
        "nothing near it fits: free memory first"
    )
    assert caught.value.failure.plan is FULL


def test_a_surge_and_alternatives_are_said() -> None:
    """An update's copy has its own reason; what would fit is counted."""
    other = Alternative(Dtype.INT8, 512, 8, 60, "a")
    with pytest.raises(SurgeInfeasibleError) as caught:
        require_fit(replace(FULL, surge=True, devices=(), alternatives=(other,)))
    text = "2 x 100 bytes do not fit beside the version that is serving (no device); 1 alternatives fit, see the plan"
    assert str(caught.value) == text


def test_placed_bytes_count_each_replica_where_it_lies() -> None:
    """Two replicas on one device take it twice; a plan that does not fit takes nothing."""
    assert replace(builders.plan(3, 100), device_ids=("a", "b", "a")).placed_bytes() == {"a": 200, "b": 100}
    assert FULL.placed_bytes() == {}
