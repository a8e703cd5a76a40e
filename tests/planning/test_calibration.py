"""Constants from readings, and readings from what processes report."""

from __future__ import annotations

from pathlib import Path

import pytest

from echoplaned.core.calibration import EngineKey, MemorySample, MemoryUsage
from echoplaned.core.facts import Dtype
from echoplaned.core.spec import ShapeRequest
from echoplaned.planning import PlanRequest, calibrate, explain, host_device, plan_load, size_model

MIB = 1024 * 1024
KEY = EngineKey("torch", "torch 2.15.0", "host memory")


def _readings(count: int, *, base_mib: float = 5, slack: float = 0.02) -> list[MemorySample]:
    sizes = [20 * MIB * (number + 1) for number in range(count)]
    return [
        MemorySample(f"m/v#{n}.1", float(n), size, round(base_mib * MIB + slack * size), 2 * size, 3 * MIB)
        for n, size in enumerate(sizes)
    ]


def test_without_readings_the_prior_answers_and_says_so() -> None:
    """No sample is claimed, and the constants are what is believed."""
    found = calibrate(KEY, ()).shown
    assert (found.sample_count, found.time_s) == (0, 0.0)
    assert found.overhead_bytes == 2 * MIB
    assert found.heap_slack == pytest.approx(0.55)


def test_constants_are_learned() -> None:
    """Twenty processes move base and factor to what they took; the newest reading dates it."""
    found = calibrate(KEY, _readings(20)).shown
    assert found.overhead_bytes == pytest.approx(5 * MIB, abs=MIB)
    assert found.heap_slack == pytest.approx(0.02, abs=0.02)
    assert (found.sample_count, found.time_s) == (20, 19.0)


def test_a_plan_shows_and_uses_what_it_was_calibrated_with(minilm: Path) -> None:
    """The same model needs less after processes were measured that took less, and the plan says by how many."""
    devices = (host_device(8 * 1024 * MIB),)
    before = plan_load(PlanRequest(minilm, devices))
    after = plan_load(PlanRequest(minilm, devices, calibrated=calibrate(KEY, _readings(20))))
    assert before.calibration is not None
    assert after.calibration is not None
    assert (before.calibration.sample_count, after.calibration.sample_count) == (0, 20)
    assert after.bytes < before.bytes
    assert after.upper_bytes - after.bytes < before.upper_bytes - before.bytes
    weights = {part.bytes for plan in (before, after) for part in plan.components if part.name == "weights"}
    assert len(weights) == 1


def test_small_batches_do_not_lower_a_full_plan(minilm: Path) -> None:
    """Idle processes teach the base; what a full batch keeps stays as believed."""
    devices = (host_device(8 * 1024 * MIB),)
    idle = [MemorySample(f"m/v#{n}.1", 0.0, 1_000, 5 * MIB, 0, 0) for n in range(50)]
    believed, after = calibrate(KEY, ()), calibrate(KEY, idle)
    assert after.shown.heap_slack == pytest.approx(believed.shown.heap_slack, abs=0.01)
    plan = plan_load(PlanRequest(minilm, devices, calibrated=after))
    slack = next(part for part in plan.components if part.name == "heap_slack")
    assert slack.upper_bytes > slack.bytes > 0


def test_weights_are_the_process_s_own(minilm: Path) -> None:
    """All weights are deducted, touched or not, as all were copied; what is mapped from files beside them is overhead."""
    sized = size_model(minilm, ShapeRequest(context_length=128, max_concurrency=8))
    weights = sum(part.bytes for part in sized.components if part.name in {"weights", "buffers"})
    formulas = sum(part.bytes for part in sized.components if part.name not in {"heap_slack", "overhead"})
    found = [
        explain("m/v#0.1", 1.0, MemoryUsage("t", 0, formulas + 7 * MIB, pages, 8, 128), sized, weights)
        for pages in (0, 5 * MIB)
    ]
    assert [one.beyond_bytes for one in found] == [7 * MIB] * 2
    assert found[0].loaded_bytes == 0


def test_a_cast_has_file_and_result_beside_each_other(minilm: Path) -> None:
    """The load's peak is compared with both together, and with the tokenizer that is there by then."""
    sized = size_model(minilm, ShapeRequest(dtype=Dtype.BF16, context_length=128, max_concurrency=8))
    weights = sum(part.bytes for part in sized.components if part.name in {"weights", "buffers"})
    tokenizer = next(part.bytes for part in sized.components if part.name == "tokenizer")
    usage = MemoryUsage("t", 90 * MIB + weights + tokenizer + 7, 60 * MIB, 0, 8, 128)
    found = explain("m/v#0.1", 1.0, usage, sized, 90 * MIB)
    assert (found.loaded_bytes, found.load_beyond_bytes) == (90 * MIB + weights, 7)


FOREIGN = EngineKey("llama_cpp", "b1", "host memory")
ASKED = ShapeRequest(engine="vllm", context_length=128, max_concurrency=8)


def _idle(count: int, mib: float) -> list[MemorySample]:
    return [MemorySample(f"m/v#{n}.1", float(n), 10 * MIB, round((mib + n % 3) * MIB), 0, 0) for n in range(count)]


@pytest.mark.parametrize(("mib", "count", "off_mib"), [(60, 1, 5), (60, 20, 3), (3000, 1, 60), (3000, 20, 5)])
def test_a_foreign_engine_s_processes_are_learned_by_the_first_of_them(mib: float, count: int, off_mib: float) -> None:
    """One reading says nearly all, whether the engine is a small program or three interpreters; nothing else is fitted."""
    found = calibrate(FOREIGN, _idle(count, mib)).shown
    assert found.overhead_bytes == pytest.approx(mib * MIB, abs=off_mib * MIB)
    assert (found.sample_count, found.load_overhead_bytes, found.load_slack) == (count, 0, 0.0)
    assert found.heap_slack == pytest.approx(0.0, abs=1e-3)


def test_a_foreign_engine_is_planned_as_its_processes_were_measured(minilm: Path) -> None:
    """Before, by constants of a device that the plan does not call calibrated; afterwards by what they took."""
    devices = (host_device(8 * 1024 * MIB),)
    unread = calibrate(EngineKey("vllm", "b1", "host memory"), ())
    before = plan_load(PlanRequest(minilm, devices, ASKED, calibrated=unread))
    learned = calibrate(EngineKey("vllm", "b1", "host memory"), _idle(20, 3000))
    after = plan_load(PlanRequest(minilm, devices, ASKED, calibrated=learned))
    assert before == plan_load(PlanRequest(minilm, devices, ASKED))
    assert before.calibration is None
    assert after.calibration is not None
    assert after.calibration.sample_count == 20
    assert after.cpu_isa == ""
    names = [{part.name for part in plan.components} for plan in (before, after)]
    assert names[0] - names[1] == {"device_context", "workspace", "cuda_graphs"}
    assert names[1] - names[0] == {"engine_processes"}
    part = next(part for part in after.components if part.name == "engine_processes")
    assert part.bytes == pytest.approx(3000 * MIB, abs=5 * MIB)
    assert part.bytes < part.upper_bytes < part.bytes + 200 * MIB


def test_what_a_foreign_process_takes_is_all_beyond_the_model(minilm: Path) -> None:
    """Weights, cache and step are the formulas'; how it loads is its own matter."""
    sized = size_model(minilm, ASKED)
    known = sum(part.bytes for part in sized.components if part.name in {"weights", "kv_cache", "activations"})
    found = explain("m/v#0.1", 1.0, MemoryUsage("b1", 9 * known, known + 70 * MIB, 0, 8, 128), sized, 90 * MIB)
    assert (found.beyond_bytes, found.loaded_bytes, found.load_beyond_bytes) == (70 * MIB, 0, 0)
