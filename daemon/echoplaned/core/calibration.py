"""Measurements of engines, sorted by engine, engine version and device."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from echoplaned.core.cpu_isa import CpuIsa
from echoplaned.core.plan import Device

SAMPLES_RETAINED = 256
"""Samples kept of one engine on one device; the oldest go first."""


@dataclass(frozen=True, slots=True, order=True)
class EngineKey:
    """The engine, version and device that measured constants are valid for.

    Attributes:
        engine: kind of the engine.
        engine_version: versions of what runs the model, on a host with the instruction set; empty: not known.
        device: the maker's name of the device, so that another card in the same slot begins anew; empty: no device.
    """

    engine: str
    engine_version: str
    device: str


@dataclass(frozen=True, slots=True)
class MemoryUsage:
    """What one process reports of its memory, in bytes above a standby process.

    Attributes:
        engine_version: versions of what runs the model.
        load_peak_bytes: most that it held while it loaded.
        serving_peak_bytes: most that it held since it served.
        file_bytes: pages of files that are mapped now.
        sequences: of the largest batch computed so far, without which a peak says nothing; 0: none.
        tokens: of that batch; 0: none.
        cpu_isa: instruction set that its matrix library uses; None: it does not say.
    """

    engine_version: str
    load_peak_bytes: int
    serving_peak_bytes: int
    file_bytes: int
    sequences: int
    tokens: int
    cpu_isa: CpuIsa | None = None


@dataclass(frozen=True, slots=True)
class MemorySample:
    """One process's measured memory beside what formulas give for its largest batch.

    Attributes:
        subject: instance and generation; a later sample of the same subject takes its place.
        time_s: when it was measured, seconds since the epoch.
        temporary_bytes: computed temporaries.
        beyond_bytes: measured beyond the temporaries and the weights that were touched; may be negative.
        loaded_bytes: stored bytes and weights that a cast has beside each other; 0 where a load only copies.
        load_beyond_bytes: measured beyond these while loading; 0 where a load only copies.
    """

    subject: str
    time_s: float
    temporary_bytes: int
    beyond_bytes: int
    loaded_bytes: int
    load_beyond_bytes: int


@dataclass(frozen=True, slots=True)
class SampleWindow:
    """The newest samples of one engine on one device.

    Attributes:
        key: the engine and the device.
        samples: oldest first, at most ``SAMPLES_RETAINED``.
    """

    key: EngineKey
    samples: tuple[MemorySample, ...] = ()


def engine_key(engine: str, engine_version: str, device: Device | None, cpu_isa: CpuIsa | None = None) -> EngineKey:
    """Return the key of an engine on a device.

    On a host the instruction set is part of the version: what one teaches is not true of another. ``cpu_isa``: as a process reports
    it; the device's where None. An engine of no known version has none of its own.
    """
    if device is not None and device.kind == "host" and engine_version:
        engine_version = f"{engine_version}, {cpu_isa or device.cpu_isa}"
    return EngineKey(engine, engine_version, device.name if device is not None else "")


def with_sample(windows: Iterable[SampleWindow], key: EngineKey, sample: MemorySample) -> tuple[SampleWindow, ...]:
    """Return the windows with one more sample, in the order of their keys."""
    known = {window.key: window.samples for window in windows}
    others = tuple(one for one in known.get(key, ()) if one.subject != sample.subject)
    known[key] = (*others, sample)[-SAMPLES_RETAINED:]
    return tuple(SampleWindow(each, known[each]) for each in sorted(known))


def samples_of(windows: Iterable[SampleWindow], key: EngineKey) -> tuple[MemorySample, ...]:
    """Return the samples of a key; empty: there are none."""
    return next((window.samples for window in windows if window.key == key), ())
