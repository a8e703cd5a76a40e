"""The tree reservoir from Python: golden vectors, arrays, threads, streams, bad input."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import threading
from typing import Any, cast

import numpy as np
import pytest

from echoplaned.core.spec import ReservoirOverrides
from echoplaned.dtesn import SIZE_CLASSES, ReservoirSettings, Streams, TreeReservoir, errors, givens_layers
from echoplaned.planning import plan_reservoir
from tests.dtesn.golden import GOLDEN, states, telemetry


@pytest.mark.parametrize("size_class", SIZE_CLASSES)
def test_golden_vectors(size_class: str) -> None:
    """States on this machine are within 1e-6 of those that are checked in."""
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))[size_class]
    reservoir = TreeReservoir.of_class(size_class, 4, ReservoirSettings(seed=7))
    assert reservoir.fingerprint == golden["fingerprint"]
    assert np.max(np.abs(states(reservoir) - np.array(golden["states"]))) <= 1e-6


@pytest.mark.parametrize(("size_class", "parameters"), [("small", 1), ("medium", 2 * 10**10), ("large", 7 * 10**10)])
def test_the_plan_and_the_network_agree(size_class: str, parameters: int) -> None:
    """Tree, time constants and bytes of the memory plan are those of the network."""
    plan = plan_reservoir(parameters, 3)
    reservoir = TreeReservoir.of_class(size_class, 4)
    streams = Streams(reservoir, 3)
    assert (plan.units, plan.tree) == (reservoir.units, reservoir.tree)
    assert plan.level_time_constants == pytest.approx(reservoir.time_constants)
    assert streams.total_bytes == 3 * plan.bytes_per_stream == 3 * streams.bytes_per_stream
    readout_bytes = 4 * 4 * (reservoir.units + 1)
    assert plan.total_bytes == streams.total_bytes + reservoir.weight_bytes + readout_bytes


@pytest.mark.parametrize("layers", range(7))
def test_a_block_has_the_density_that_was_asked_for(layers: int) -> None:
    """A model's block density gives the network's layers, and the plan has the bytes of what they take."""
    density = 2.0**layers / 64
    settings = ReservoirSettings(givens_layers=givens_layers(density))
    assert settings.block_density == density
    reservoir = TreeReservoir.of_class("small", 4, settings)
    assert np.count_nonzero(reservoir.block(7)) == 64 * 64 * density
    plan = plan_reservoir(1, 0, ReservoirOverrides(block_density=density))
    assert plan.total_bytes == reservoir.weight_bytes + 4 * 4 * (reservoir.units + 1)


@pytest.mark.parametrize(("density", "beside"), [(0.3, "0.25 and 0.5"), (math.nan, "0.5 and 1"), (0.0, "0.015625 and")])
def test_a_density_between_layers_is_refused(density: float, beside: str) -> None:
    """The error names the densities on both sides."""
    with pytest.raises(errors.SettingInvalidError, match=beside):
        givens_layers(density)


@pytest.mark.parametrize("size_class", SIZE_CLASSES)
def test_two_starts_meet(size_class: str) -> None:
    """After the washout that the rate gives two random starts are within 1e-5 in every unit."""
    reservoir = TreeReservoir.of_class(size_class, 4)
    random = np.random.default_rng(1)
    first, second = (random.uniform(-1, 1, reservoir.units).astype(np.float32) for _ in range(2))
    inputs = random.standard_normal((reservoir.washout(1e-5), 4)).astype(np.float32)
    reservoir.advance(first, inputs)
    reservoir.advance(second, inputs)
    assert np.max(np.abs(first - second)) <= 1e-5


@pytest.mark.parametrize("size_class", SIZE_CLASSES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_bound_holds(size_class: str, seed: int) -> None:
    """Two random starts meet no later than the proven bound, and not at once: the measured washout lies between."""
    reservoir = TreeReservoir.of_class(size_class, 4, ReservoirSettings(seed=seed))
    random = np.random.default_rng(seed)
    bound = reservoir.washout_bound(1e-5)
    inputs = random.standard_normal((bound, 4)).astype(np.float32)
    starts = [random.uniform(-1, 1, reservoir.units).astype(np.float32) for _ in range(2)]
    first, second = (reservoir.run(inputs, state=start) for start in starts)
    apart = np.flatnonzero(np.max(np.abs(first - second), axis=1) > 1e-5)
    assert 0 < apart[-1] + 1 <= bound - 1, "the last step is within the tolerance"


def test_blocks_have_their_norm_by_construction() -> None:
    """Spectral radius and 2-norm of each block are the setting."""
    reservoir = TreeReservoir.of_class("small", 1, ReservoirSettings(spectral_radius=0.6, givens_layers=4))
    for membrane in range(8):
        block = reservoir.block(membrane).astype(np.float64)
        assert np.linalg.norm(block, 2) == pytest.approx(0.6, abs=1e-6)
        assert np.max(np.abs(np.linalg.eigvals(block))) == pytest.approx(0.6, abs=1e-6)
        assert np.count_nonzero(block) == 64 * 16


def test_arrays_are_used_where_they_are() -> None:
    """A result and a state that are given are written in place; other types and layouts are converted."""
    reservoir = TreeReservoir.of_class("small", 2)
    inputs, out, state = telemetry(30, 2), np.empty((30, 512), np.float32), reservoir.initial_state()
    assert reservoir.run(inputs, state=state, out=out) is out
    assert np.array_equal(out[-1], state)
    assert np.array_equal(reservoir.run(np.asfortranarray(inputs.astype(np.float64))), out)
    rest = reservoir.run(inputs[10:], state=reservoir.run(inputs[:10])[-1].copy())
    assert np.array_equal(rest, out[10:])


def test_other_threads_run_meanwhile() -> None:
    """The interpreter is free while the reservoir computes."""
    reservoir = TreeReservoir.of_class("large", 4)
    inputs, done, ticks = telemetry(8000, 4), threading.Event(), []

    def count() -> None:
        while not done.wait(0.001):
            ticks.append(1)

    thread = threading.Thread(target=count)
    thread.start()
    before = len(ticks)
    reservoir.advance(reservoir.initial_state(), inputs)
    during = len(ticks) - before
    done.set()
    thread.join()
    assert during >= 5


def test_a_batch_is_many_single_streams() -> None:
    """Streams of a batch move as each would alone, at irregular times."""
    reservoir = TreeReservoir.of_class("small", 2)
    streams = Streams(reservoir, 8)
    ids = np.array([streams.open() for _ in range(6)], dtype=np.uint64)
    positions = np.array([1.0, 5.0, 2.5, 100.0, 7.0, 0.5])
    alone = [reservoir.initial_state() for _ in ids]
    for step in range(5):
        inputs, gaps = telemetry(6, 2) * (step + 1) / 5, np.array([1.0, 0.5, 2.0, 1.0, 30.0, 1.0])
        positions = positions + gaps
        streams.advance(ids, inputs, positions)
        for number, state in enumerate(alone):
            dt = 1.0 if step == 0 else gaps[number]
            reservoir.advance(state, inputs[number : number + 1], dt=dt)
    assert np.array_equal(streams.states(ids), np.array(alone))
    assert streams.position(int(ids[3])) == 105.0


@pytest.mark.parametrize("store", ["fp32", "fp16", "bf16"])
def test_a_saved_stream_goes_on(store: str) -> None:
    """A stream that was saved and restored moves as the one that was not."""
    streams = Streams(TreeReservoir.of_class("small", 1), 2, cast(Any, store))
    first = streams.open()
    streams.step([first], [[0.3]])
    second = streams.restore(streams.save(first))
    streams.step([first, second], [[0.5], [0.5]], dt=2.0)
    one, other = streams.states([first, second])
    assert np.array_equal(one, other)
    assert len(streams) == 2


def test_half_stores_round_as_numpy_does() -> None:
    """A state at rest in binary16 is NumPy's rounding of the full one."""
    reservoir = TreeReservoir.of_class("small", 1)
    streams = Streams(reservoir, 1, "fp16")
    stream = streams.open()
    streams.step([stream], [[0.7]])
    assert np.array_equal(streams.states([stream])[0], reservoir.run([0.7])[0].astype(np.float16).astype(np.float32))


@pytest.mark.parametrize(
    "settings",
    [
        ReservoirSettings(spectral_radius=1.0),
        ReservoirSettings(spectral_radius=1.5),
        ReservoirSettings(spectral_radius=math.nan),
        ReservoirSettings(leak=0.0),
        ReservoirSettings(leak=math.inf),
        ReservoirSettings(input_scale=-1.0),
        ReservoirSettings(bias_scale=math.nan),
        ReservoirSettings(coupling_scale=-0.1),
        ReservoirSettings(givens_layers=7),
    ],
)
def test_settings_out_of_range_are_refused(settings: ReservoirSettings) -> None:
    """What has no echo state property, or no meaning, is named."""
    with pytest.raises(errors.SettingInvalidError, match="must be"):
        TreeReservoir.of_class("small", 1, settings)


def test_bad_telemetry_changes_nothing() -> None:
    """NaN, infinity, and dt of 0, below 0 and NaN are refused with their row; dt of 1e9 is a long pause."""
    reservoir = TreeReservoir.of_class("small", 2)
    streams = Streams(reservoir, 2)
    stream = streams.open()
    streams.step([stream], [[0.1, 0.2]])
    before = streams.states([stream])
    for value in (math.nan, math.inf, -math.inf, 1e300):
        with pytest.raises(errors.NotFiniteError, match="input 1 of row 1"):
            streams.step([stream, stream], np.array([[0.0, 0.0], [0.0, value]]))
    for dt in (0.0, -1.0, math.nan, math.inf, 1e-9):
        with pytest.raises(errors.TimeStepError, match="row 0"):
            streams.step([stream], [[0.0, 0.0]], dt=dt)
    assert np.array_equal(streams.states([stream]), before)
    streams.step([stream], [[0.1, 0.2]], dt=1e9)
    assert np.all(np.abs(streams.states([stream])) <= 1.0)


def test_time_does_not_jump_back() -> None:
    """A position that is not behind the stream's last one is refused."""
    streams = Streams(TreeReservoir.of_class("small", 1), 1)
    stream = streams.open()
    streams.advance([stream], [[1.0]], [10.0])
    for position in (10.0, 9.0, -1e9):
        with pytest.raises(errors.TimeReversedError, match="its stream is at 10 already"):
            streams.advance([stream], [[1.0]], [position])
    assert streams.position(stream) == 10.0


def test_a_million_streams_end_in_an_error() -> None:
    """Streams that are opened and never closed take no more than was planned."""
    streams = Streams(TreeReservoir.of_class("small", 1), 100, "bf16")
    before, refused = streams.total_bytes, 0
    for _ in range(1_000_000):
        try:
            streams.open()
        except errors.StreamsFullError:
            refused += 1
    assert (refused, len(streams), streams.total_bytes) == (999_900, 100, before)


def test_no_change_under_live_streams() -> None:
    """Another tree or class waits until all streams are closed; what one network saved another refuses."""
    small, medium = TreeReservoir.of_class("small", 1), TreeReservoir.of_class("medium", 1)
    streams = Streams(small, 1)
    stream = streams.open()
    with pytest.raises(errors.StreamsLiveError, match="1 streams are open"):
        streams.replace(medium)
    saved = streams.save(stream)
    streams.close(stream)
    streams.replace(medium)
    assert streams.reservoir is medium
    with pytest.raises(errors.NetworkMismatchError):
        streams.restore(saved)
    with pytest.raises(errors.StreamUnknownError):
        streams.step([stream], [[0.0]])
    with pytest.raises(errors.SnapshotInvalidError):
        Streams(small, 1).restore(saved[:-1])


def test_shapes_are_checked() -> None:
    """Arrays of another shape, type or layout are refused by name."""
    reservoir = TreeReservoir.of_class("small", 2)
    good = telemetry(4, 2)
    for inputs in (telemetry(4, 3), np.zeros((2, 2, 2)), np.float32(1.0)):
        with pytest.raises(errors.ShapeInvalidError):
            reservoir.run(inputs)
    for out in (np.empty((3, 512), np.float32), np.empty((4, 512)), np.empty((512, 4), np.float32).T):
        with pytest.raises(errors.ShapeInvalidError):
            reservoir.run(good, out=cast(Any, out))
    with pytest.raises(errors.ShapeInvalidError):
        reservoir.run(good, state=np.zeros(511, np.float32))
    with pytest.raises(errors.ShapeInvalidError):
        reservoir.run(good, dt=[1.0, 1.0])
    with pytest.raises(errors.SettingInvalidError):
        TreeReservoir.of_class("huge", 1)
    with pytest.raises(errors.SettingInvalidError):
        Streams(reservoir, 1, cast(Any, "fp8"))
    with pytest.raises(errors.SettingInvalidError):
        Streams(reservoir, 0)


@pytest.mark.parametrize("parameters", [1, 40_000_000_000])
def test_a_stream_takes_the_memory_that_was_planned(parameters: int) -> None:
    """What the process grows by when many streams are opened is what the memory plan says of one, times their number."""
    count = 8000
    plan = plan_reservoir(parameters, count)
    script = _OPENED.format(size_class=plan.size_class, count=count)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert int(done.stdout) == pytest.approx(count * plan.bytes_per_stream, rel=0.05)


# In a process of its own: one that has run other tests has freed memory that streams would take first.
_OPENED = """
from pathlib import Path
from echoplaned.dtesn import Streams, TreeReservoir

def resident_bytes():
    (line,) = [text for text in Path("/proc/self/status").read_text().splitlines() if text.startswith("RssAnon:")]
    return int(line.split()[1]) * 1024

reservoir = TreeReservoir.of_class("{size_class}", 4)
before = resident_bytes()
streams = Streams(reservoir, {count})
for _ in range({count}):
    streams.open()
print(resident_bytes() - before)
"""
