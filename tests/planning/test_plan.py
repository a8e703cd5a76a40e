"""Plans: does it fit, where, and what would."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echoplaned.core.cpu_isa import CpuIsa
from echoplaned.core.errors import FieldInvalidError, MemoryInsufficientError, SurgeInfeasibleError
from echoplaned.core.facts import Dtype
from echoplaned.core.plan import Device
from echoplaned.core.spec import MAX_CONCURRENCY, ReservoirOverrides, ShapeRequest
from echoplaned.planning import PlanRequest, inspect_checkpoint, place, plan_load, plan_offline, require_fit, size_model
from tests.planning.conftest import Draft

MIB = 1024 * 1024


def device(name: str, capacity_bytes: int, reserve_bytes: int = 0) -> Device:
    """Return a device of host memory."""
    return Device(name, "host", name, capacity_bytes, reserve_bytes)


@pytest.fixture
def request_minilm(minilm: Path) -> PlanRequest:
    """Return a request for the packaged model on one empty device of 1 GiB."""
    return PlanRequest(source=inspect_checkpoint(minilm), devices=(device("host", 1024 * MIB),))


@pytest.mark.parametrize(("engine", "capacity"), [("", 768), ("", 2048), ("", 65536), ("vllm", 8192)])
def test_as_many_sequences_fit_as_a_plan_says(minilm: Path, engine: str, capacity: int) -> None:
    """Each sequence has its part of the reservoir, too: a plan for what was told fits, and for one more does not, if one may be asked."""
    devices = (device("d0", capacity * MIB),)
    shape = ShapeRequest(engine=engine, context_length=32, max_concurrency=8)
    most = plan_offline(minilm, shape, devices).fitting_max_concurrency
    assert 8 < most <= MAX_CONCURRENCY
    assert plan_offline(minilm, replace(shape, max_concurrency=most), devices).fits
    more = plan_offline(minilm, replace(shape, max_concurrency=most + 1), devices)
    assert more.fits is (most == MAX_CONCURRENCY)
    assert plan_offline(minilm, replace(shape, max_concurrency=most), devices).fitting_max_concurrency == most


def test_a_plan_that_fits(request_minilm: PlanRequest) -> None:
    """The answer holds the components with the reservoir among them, the device, and no alternatives."""
    plan = plan_load(request_minilm)
    assert (plan.fits, plan.device_ids, plan.alternatives) == (True, ("host",), ())
    assert sum(part.bytes for part in plan.components) == plan.bytes <= plan.upper_bytes
    assert plan.reservoir is not None
    assert [part.bytes for part in plan.components if part.name == "reservoir"] == [plan.reservoir.total_bytes]
    assert plan.devices[0].fits
    assert (plan.devices[0].free_bytes, plan.devices[0].needed_bytes) == (1024 * MIB, plan.upper_bytes)
    assert require_fit(plan) is plan
    assert plan_load(request_minilm) == plan


def test_parts_that_are_alike_are_kept_once(request_minilm: PlanRequest) -> None:
    """Plans are kept with versions and 1,000 finished operations, and most are of models that were planned before."""
    plans = [plan_load(request_minilm) for _ in range(2)]
    sized = [[part for part in plan.components if part.name != "reservoir"] for plan in plans]
    assert len(sized[0]) >= 5
    assert all(one is other for one, other in zip(*sized, strict=True))


def test_what_is_reserved_is_not_free(request_minilm: PlanRequest) -> None:
    """Two models that fit one by one but not together: the second plan sees what the first one holds."""
    first = plan_load(request_minilm)
    room = replace(request_minilm, devices=(device("host", 2 * first.upper_bytes - 1),))
    assert plan_load(room).fits
    second = plan_load(replace(room, reserved_bytes={"host": first.upper_bytes}))
    assert not second.fits
    assert second.device_ids == ()
    assert second.alternatives
    with pytest.raises(MemoryInsufficientError, match=str(second.upper_bytes)) as caught:
        require_fit(second)
    assert caught.value.failure.plan is second


def test_a_surge_copy_that_has_no_room(request_minilm: PlanRequest) -> None:
    """An update whose copy does not fit beside the old version has its own reason."""
    full = replace(request_minilm, surge=True, reserved_bytes={"host": 1024 * MIB})
    plan = plan_load(full)
    assert plan.surge
    with pytest.raises(SurgeInfeasibleError, match="beside the version that is serving"):
        require_fit(plan)


def test_alternatives_fit_and_say_their_price(request_minilm: PlanRequest) -> None:
    """Each alternative, asked for by itself, fits with the bytes it promised; the least costly comes first."""
    shape = ShapeRequest(context_length=512)
    tight = replace(request_minilm, shape=shape, devices=(device("host", 230 * MIB),))
    plan = plan_load(tight)
    assert not plan.fits
    assert [part.dtype for part in plan.alternatives[:2]] == [Dtype.FP32, Dtype.FP32]
    for one in plan.alternatives:
        asked = ShapeRequest(one.dtype, one.context_length, one.max_concurrency)
        again = plan_load(replace(tight, shape=asked))
        assert (again.fits, again.upper_bytes, again.device_ids) == (True, one.upper_bytes, (one.device_id,))
        assert one.warning
    fewer = plan.alternatives[0]
    one_more = ShapeRequest(context_length=fewer.context_length, max_concurrency=fewer.max_concurrency + 1)
    assert not plan_load(replace(tight, shape=one_more)).fits


def test_replicas_are_spread(request_minilm: PlanRequest) -> None:
    """Each replica takes another device while there is one, the tightest first."""
    devices = (device("a", 4000 * MIB), device("b", 1000 * MIB), device("c", 100 * MIB))
    plan = plan_load(replace(request_minilm, devices=devices, shape=ShapeRequest(replicas=3)))
    assert plan.device_ids == ("b", "a", "b")
    needed = {fit.device_id: fit.needed_bytes for fit in plan.devices}
    assert needed == {"a": plan.upper_bytes, "b": 2 * plan.upper_bytes, "c": plan.upper_bytes}
    assert [fit.fits for fit in plan.devices] == [True, True, False]


def test_the_reserve_is_never_given_away(request_minilm: PlanRequest) -> None:
    """A device's reserve counts as taken, and more reservations than capacity leave nothing, not less than nothing."""
    needed = plan_load(request_minilm).upper_bytes
    assert plan_load(replace(request_minilm, devices=(device("host", needed + 5, 5),))).fits
    assert not plan_load(replace(request_minilm, devices=(device("host", needed + 5, 6),))).fits
    over = plan_load(replace(request_minilm, reserved_bytes={"host": 10**15}))
    assert over.devices[0].free_bytes == 0
    assert not plan_load(replace(request_minilm, devices=())).fits


def test_reservoir_overrides(request_minilm: PlanRequest) -> None:
    """Overrides show in the plan; one without the echo state property is refused."""
    changed = replace(request_minilm, reservoir=ReservoirOverrides(spectral_radius=0.5, seed=7))
    reservoir = plan_load(changed).reservoir
    assert reservoir is not None
    assert (reservoir.spectral_radius, reservoir.leak, reservoir.seed) == (0.5, 0.3, 7)
    default, dense = (
        plan_load(replace(request_minilm, reservoir=ReservoirOverrides(block_density=density)))
        for density in (None, 1.0)
    )
    assert dense.reservoir is not None
    assert dense.bytes - default.bytes == dense.upper_bytes - default.upper_bytes == 3 * 4 * dense.reservoir.units
    with pytest.raises(FieldInvalidError, match="spectral_radius is 1"):
        plan_load(replace(request_minilm, reservoir=ReservoirOverrides(spectral_radius=1.0)))


@pytest.mark.parametrize("replicas", [0, -1, 10**6])
def test_replicas_out_of_range(request_minilm: PlanRequest, replicas: int) -> None:
    """No version has so many replicas, or none."""
    with pytest.raises(FieldInvalidError, match="replicas"):
        plan_load(replace(request_minilm, shape=ShapeRequest(replicas=replicas)))


def test_offline_from_a_directory_and_from_a_config(
    draft: Draft, tmp_path: Path, write_config: Callable[..., Path]
) -> None:
    """Without a daemon: a directory, a config file, and a directory with nothing but a config."""
    whole = plan_offline(draft.write(tmp_path / "model"))
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "config.json").write_text(json.dumps(draft.config))
    for estimate in (plan_offline(write_config(**draft.config)), plan_offline(alone)):
        assert estimate.parameter_count == whole.parameter_count
        assert any("estimate from the config" in warning for warning in estimate.warnings)
    assert whole.fits


def test_a_larger_request_needs_more(minilm: Path) -> None:
    """Upper bounds do not fall when context or concurrency rise, on instruction sets whose copies are known."""
    checkpoint = inspect_checkpoint(minilm)
    for dtype, isa in product(Dtype, (CpuIsa.AVX2, CpuIsa.AVX512_CORE, CpuIsa.AVX512_CORE_BF16)):
        bounds = [
            size_model(
                checkpoint,
                ShapeRequest(dtype=dtype, context_length=context, max_concurrency=concurrency),
                cpu_isa=isa,
            ).upper_bytes
            for context, concurrency in ((1, 1), (64, 1), (64, 2), (512, 2), (512, 8), (512, 64))
        ]
        assert bounds == sorted(bounds)


def test_a_plan_is_for_an_instruction_set(request_minilm: PlanRequest) -> None:
    """The first device's holds where the request has none, and is shown; one that was not measured is bounded, and says so."""
    plans = {
        isa: plan_load(replace(request_minilm, shape=ShapeRequest(dtype=Dtype.BF16), cpu_isa=isa))
        for isa in (CpuIsa.AVX2, CpuIsa.AVX512_CORE_BF16, CpuIsa.AVX512_CORE_AMX, CpuIsa.UNKNOWN)
    }
    assert [plan.cpu_isa for plan in plans.values()] == list(plans)
    assert plan_load(request_minilm).cpu_isa == request_minilm.devices[0].cpu_isa
    parts = {isa: next(p for p in plan.components if p.name == "activations") for isa, plan in plans.items()}
    assert parts[CpuIsa.AVX2].bytes <= parts[CpuIsa.AVX512_CORE_BF16].bytes <= parts[CpuIsa.UNKNOWN].upper_bytes
    assert all(parts[isa].bytes == parts[isa].upper_bytes for isa in (CpuIsa.AVX2, CpuIsa.AVX512_CORE_BF16))
    for isa in (CpuIsa.AVX512_CORE_AMX, CpuIsa.UNKNOWN):
        assert parts[isa].source.startswith("unverified")
        assert any(isa in warning for warning in plans[isa].warnings)


@given(
    sizes=st.lists(st.tuples(st.integers(0, 2**63), st.integers(0, 2**63), st.integers(0, 2**63)), max_size=5),
    needed=st.integers(0, 2**62),
    replicas=st.integers(1, 5),
)
@settings(max_examples=200, deadline=None)
def test_placement_never_exceeds_what_is_free(sizes: list[tuple[int, int, int]], needed: int, replicas: int) -> None:
    """Whatever the devices hold, replicas placed on one never exceed capacity less reserve less reservations."""
    devices = tuple(device(f"d{index}", capacity, reserve) for index, (capacity, reserve, _) in enumerate(sizes))
    reserved = {f"d{index}": held for index, (_, _, held) in enumerate(sizes)}
    placed = place(devices, reserved, needed_bytes=needed, replicas=replicas)
    assert len(placed) in {0, replicas}
    for one in devices:
        free = max(0, one.capacity_bytes - one.reserve_bytes - reserved[one.device_id])
        assert placed.count(one.device_id) * needed <= free
