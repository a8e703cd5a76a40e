"""Planned activations against torch's own allocation events of one step."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from echoplaned.core.facts import Dtype

torch = pytest.importorskip("torch")

from benchmarks.allocator.activations import (  # noqa: E402 - after torch
    CARRIED,
    FAMILIES,
    WITHOUT_INT8,
    drawn,
    planned,
    random_model,
    row_ids,
    step_peak,
)

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings(
        "ignore::SyntaxWarning", "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
    ),
]
SHAPES = int(os.environ.get("ECHOPLANE_ACTIVATION_SHAPES", "2"))
"""Shapes of each family and dtype; 20 for a thorough run."""
CASES = [
    (architecture, dtype, stored)
    for architecture in FAMILIES
    for dtype, stored in CARRIED
    if dtype is not Dtype.INT8 or architecture not in WITHOUT_INT8
]


def has_native(number: Dtype) -> bool:
    """Say whether the CPU computes in 16 bit itself: then the matrix library keeps less than was compared."""
    return number is not Dtype.FP32 and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and _flags("avx512_bf16")


def _flags(name: str) -> bool:
    return name in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")


@pytest.mark.parametrize(("architecture", "dtype", "stored"), CASES)
def test_a_step_is_planned_to_the_byte(
    architecture: str, dtype: Dtype, stored: Dtype, record_property: Callable[[str, object], None]
) -> None:
    """Drawn shapes of each family, half of them padded: what is planned is what torch allocates at most."""
    seed = random.randrange(2**32)
    record_property("seed", seed)
    rng, threads = random.Random(seed), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for count in range(SHAPES):
            shape = drawn(architecture, rng, padded=count % 2 == 0)
            plan = planned(shape, dtype, stored)
            found = step_peak(random_model(shape, dtype, stored), row_ids(shape))
            if plan.verified and not has_native(stored):
                assert plan.bytes <= found <= plan.upper_bytes, f"seed {seed}: {shape}"
                # Which rows an expert gets decides what a mixture's products hold in BF16.
                routed = architecture == "MixtralForCausalLM" and dtype is Dtype.BF16
                assert routed or found == plan.bytes == plan.upper_bytes, f"seed {seed}: {shape}"
            else:
                assert found <= plan.upper_bytes, f"seed {seed}: {shape}"
    finally:
        torch.set_num_threads(threads)
