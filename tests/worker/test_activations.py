"""Planned activations against torch's own allocation events of one step, under each instruction set that this machine can take."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache

import pytest

pytest.importorskip("torch")

from benchmarks.allocator.activation_runs import LIMITED, Case, Outcome, Runner, native_isa, possible, runner
from benchmarks.allocator.activations import CARRIED, FAMILIES, WITHOUT_INT8
from echoplaned.core.cpu_isa import CpuIsa
from echoplaned.core.facts import Dtype

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings(
        "ignore::SyntaxWarning", "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
    ),
]
SHAPES = int(os.environ.get("ECHOPLANE_ACTIVATION_SHAPES", "1"))
"""Shapes of each family, dtype and instruction set; 20 for a thorough run."""
POSSIBLE = possible()


def _isas() -> list[object]:
    """Return every instruction set; those that this CPU lacks say so."""
    params: list[object] = []
    for isa in dict.fromkeys((*LIMITED, native_isa())):
        lacking = pytest.mark.skipif(isa not in POSSIBLE, reason=f"this CPU does not have {isa}")
        params.append(pytest.param(isa, marks=lacking))
    return params


@pytest.fixture(scope="module")
def runners() -> Iterator[Callable[[CpuIsa], Runner]]:
    """One process for each instruction set, started when it is first asked."""
    with ExitStack() as stack:
        yield cache(lambda isa: stack.enter_context(runner(isa)))


def _carried(architecture: str, isa: CpuIsa) -> list[tuple[Dtype, Dtype]]:
    """Return what weights are held and were stored in; FP32 is the same everywhere, so the machine's own instruction set stands for it."""
    return [
        (dtype, stored)
        for dtype, stored in CARRIED
        if (dtype is not Dtype.INT8 or architecture not in WITHOUT_INT8)
        and (stored is not Dtype.FP32 or isa is native_isa())
    ]


def _check(case: Case, isa: CpuIsa, outcome: Outcome) -> None:
    """Hold a step to its plan: never above the upper bound, and to the byte where the plan calls itself verified."""
    said = f"{isa}, {case}: {outcome}"
    assert outcome.found <= outcome.upper_bytes, said
    # Which rows an expert gets decides what a mixture's products hold in 16 bit.
    routed = case.architecture == "MixtralForCausalLM" and case.stored != Dtype.FP32
    if outcome.verified and not routed:
        assert outcome.found == outcome.bytes == outcome.upper_bytes, said


@pytest.mark.parametrize("architecture", FAMILIES)
@pytest.mark.parametrize("isa", _isas())
def test_a_step_stays_within_its_plan(
    isa: CpuIsa,
    architecture: str,
    runners: Callable[[CpuIsa], Runner],
    record_property: Callable[[str, object], None],
) -> None:
    """Drawn shapes of each family, half of them padded: what is planned is what torch allocates at most."""
    seed = random.randrange(2**32)
    record_property("seed", seed)
    measuring = runners(isa)
    for count in range(SHAPES):
        for at, (dtype, stored) in enumerate(_carried(architecture, isa)):
            case = Case(architecture, dtype.value, stored.value, seed + count, padded=(count + at + seed) % 2 == 0)
            _check(case, isa, measuring.measure(case))


@pytest.mark.parametrize("architecture", ["BertModel", "GPT2LMHeadModel", "LlamaForCausalLM"])
@pytest.mark.parametrize("isa", _isas())
def test_several_threads_stay_within_the_upper_bound(
    isa: CpuIsa,
    architecture: str,
    runners: Callable[[CpuIsa], Runner],
    record_property: Callable[[str, object], None],
) -> None:
    """Each thread has copies of its own: the plan says that it is not to the byte, and its upper bound holds."""
    seed = random.randrange(2**32)
    record_property("seed", seed)
    measuring = runners(isa)
    for at, (dtype, stored) in enumerate(_carried(architecture, isa)):
        case = Case(architecture, dtype.value, stored.value, seed, padded=(at + seed) % 2 == 0, threads=2 + at % 2 * 6)
        outcome = measuring.measure(case)
        assert outcome.found <= outcome.upper_bytes, f"{isa}, {case}: {outcome}"
        assert not outcome.verified


@pytest.mark.parametrize("isa", _isas())
def test_the_flags_say_what_the_library_says(isa: CpuIsa, runners: Callable[[CpuIsa], Runner]) -> None:
    """What the daemon derives from the CPU's flags and the variable is what the library in a process uses."""
    assert runners(isa).library is isa
