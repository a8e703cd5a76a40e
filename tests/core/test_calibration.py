"""Readings of engines' memory: a bounded window by engine, version and device."""

from __future__ import annotations

from dataclasses import replace

from echoplaned.core.calibration import (
    SAMPLES_RETAINED,
    EngineKey,
    MemorySample,
    MemoryUsage,
    SampleWindow,
    engine_key,
    samples_of,
    with_sample,
)
from echoplaned.core.commands.request import Request
from echoplaned.core.commands.version import LoadVersion
from echoplaned.core.cpu_isa import CpuIsa
from echoplaned.core.effects import Persist
from echoplaned.core.engine_events import MemoryMeasured, MemorySampled
from echoplaned.core.events import InstancePlaced
from echoplaned.core.ids import InstanceKey
from echoplaned.core.placement import on_one_device
from echoplaned.core.plan import Device
from echoplaned.core.state import State
from echoplaned.core.step import step
from echoplaned.testing.builders import device, empty_state, order, run

KEY = EngineKey("torch", "torch 2.15.0", "host memory")
READING = MemorySample("m/v#0.1", 1.0, 100, 20, 0, 0)


def test_a_window_is_bounded_and_loses_the_oldest() -> None:
    """No more readings are kept than the window holds."""
    windows: tuple[SampleWindow, ...] = ()
    for number in range(SAMPLES_RETAINED + 3):
        windows = with_sample(windows, KEY, replace(READING, subject=str(number)))
    kept = samples_of(windows, KEY)
    assert len(kept) == SAMPLES_RETAINED
    assert [kept[0].subject, kept[-1].subject] == ["3", str(SAMPLES_RETAINED + 2)]


def test_a_process_has_one_reading() -> None:
    """What is measured of a process later takes the place of what was measured of it before."""
    windows = with_sample(with_sample((), KEY, READING), KEY, replace(READING, beyond_bytes=30))
    assert [one.beyond_bytes for one in samples_of(windows, KEY)] == [30]


def test_another_version_or_device_begins_anew() -> None:
    """Constants belong to engine, version and device."""
    windows = with_sample((), KEY, READING)
    assert samples_of(windows, replace(KEY, engine_version="torch 2.16.0")) == ()
    assert samples_of(windows, replace(KEY, device="H100")) == ()


def test_a_reading_is_persisted() -> None:
    """The step that takes a reading asks for the store; the same reading again does not."""
    first = step(State(), MemorySampled(1.0, KEY, READING))
    assert [type(effect) for effect in first.effects] == [Persist]
    assert samples_of(first.state.calibrations, KEY) == (READING,)
    assert step(first.state, MemorySampled(2.0, KEY, READING)).effects == ()


def test_an_instruction_set_has_readings_of_its_own() -> None:
    """What one instruction set teaches is not true of another; a GPU's figures do not depend on it, nor those of no known version."""
    host = Device("host", "host", "host memory", 1, 0, CpuIsa.AVX512_CORE)
    assert engine_key("torch", "torch 2.15.0", host).engine_version == "torch 2.15.0, AVX512_CORE"
    assert engine_key("torch", "torch 2.15.0", host, CpuIsa.AVX2).engine_version == "torch 2.15.0, AVX2"
    assert engine_key("torch", "torch 2.15.0", replace(host, kind="cuda")).engine_version == "torch 2.15.0"
    assert engine_key("vllm", "", host) == EngineKey("vllm", "", "host memory")
    assert engine_key("torch", "torch 2.15.0", None) == EngineKey("torch", "torch 2.15.0", "")


def test_a_device_keeps_what_its_worker_says_of_it() -> None:
    """What the library in a process uses replaces what was derived from flags; a worker that does not say changes nothing."""
    loaded = run(empty_state(device()), LoadVersion(Request(1.0, "op"), order("m", "v1")))
    key = InstanceKey.parse("m/v1#0")
    state = run(loaded, InstancePlaced(2.0, key, on_one_device("host", 1), loaded.reservation_epoch))
    usage = MemoryUsage("torch 2.15.0", 0, 0, 0, 0, 0, CpuIsa.AVX512_CORE_AMX)
    told = run(state, MemoryMeasured(5.0, key, 1, 1, usage))
    assert [one.cpu_isa for one in told.devices] == [CpuIsa.AVX512_CORE_AMX]
    silent = run(told, MemoryMeasured(6.0, key, 1, 2, replace(usage, cpu_isa=None)))
    assert silent.devices == told.devices
