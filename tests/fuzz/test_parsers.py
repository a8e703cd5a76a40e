"""Parsers of what comes from outside: a refusal is a typed error, nothing hangs, and nothing of it is kept.

``ECHOPLANE_FUZZ_S``: seconds for each in ``make soak``, 600 by default. ``ECHOPLANE_FUZZ_SEED``: another one makes other inputs.
"""

from __future__ import annotations

import os
import time

import pytest

from tests.fuzz.runner import GROWTH_BYTES, Target, fuzz, names
from tests.fuzz.targets import TARGETS

SECONDS = float(os.environ.get("ECHOPLANE_FUZZ_S", "600"))
SEED = int(os.environ.get("ECHOPLANE_FUZZ_SEED", "1"))
FEW = 400


@pytest.mark.parametrize("target", TARGETS, ids=names(TARGETS))
def test_a_few_inputs(target: Target) -> None:
    """The same few hundred inputs at every run of the tests."""
    found = fuzz(target, SEED, lambda inputs: inputs < FEW)
    assert not found.faults, "\n".join(found.faults)
    assert found.inputs == FEW


@pytest.mark.soak
@pytest.mark.timeout(SECONDS + 300)
@pytest.mark.parametrize("target", TARGETS, ids=names(TARGETS))
def test_inputs_for_minutes(target: Target) -> None:
    """As long as it is told; what was seen is printed."""
    began_s = time.monotonic()
    found = fuzz(target, SEED, lambda _: time.monotonic() - began_s < SECONDS)
    print(found.line(target.name, time.monotonic() - began_s), flush=True)  # noqa: T201 - the soak's result
    assert not found.faults, "\n".join(found.faults)
    assert found.grown_bytes < GROWTH_BYTES
