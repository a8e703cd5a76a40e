"""The devices of this host that can hold models.

NVIDIA GPUs where there are any, else the host's memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil
import pynvml

from echoplaned.core.cpu_isa import CpuIsa, isa_of_cpu
from echoplaned.core.plan import Device
from echoplaned.planning.host_memory import MemoryFiles

HOST_DEVICE_ID: Final = "host"
_MIN_RESERVE_BYTES: Final = 1024**3
_RESERVE_FRACTION: Final = 10
"""One part in ten of a device is never given to a model."""

_CPUINFO: Final = Path("/proc/cpuinfo")


def find_devices(*, host_memory_bytes: int | None = None) -> tuple[Device, ...]:
    """Return the NVIDIA GPUs, or host memory as one device where there are none.

    Args:
        host_memory_bytes: use host memory of this size whatever the host has (settings, tests).
    """
    if host_memory_bytes is None:
        gpus = _gpus()
        if gpus:
            return gpus
    return (host_device(host_memory_bytes),)


def host_device(memory_bytes: int | None = None) -> Device:
    """Return the host's memory as a device.

    Its capacity is physical memory, or less where the process's cgroups allow less.
    """
    capacity = _host_memory_bytes() if memory_bytes is None else memory_bytes
    return Device(HOST_DEVICE_ID, "host", "host memory", capacity, reserve_bytes(capacity), host_isa())


def host_isa(environment: Mapping[str, str] | None = None, cpuinfo: Path = _CPUINFO) -> CpuIsa:
    """Return the instruction set that the engine's matrix library would use here.

    It is told by the CPU's flags; UNKNOWN without such a file.

    Args:
        environment: of the process that the library would be in; this one's where None.
        cpuinfo: the kernel's file (tests).
    """
    try:
        text = cpuinfo.read_text(encoding="ascii", errors="replace")
    except OSError:
        return CpuIsa.UNKNOWN
    return isa_of_cpu(text, os.environ if environment is None else environment)


def reserve_bytes(capacity_bytes: int) -> int:
    """Return what is kept free: a tenth, at least 1 GiB, at most all."""
    return min(capacity_bytes, max(capacity_bytes // _RESERVE_FRACTION, _MIN_RESERVE_BYTES))


def _host_memory_bytes() -> int:
    """Return physical memory, or the tightest cgroup limit where that is less.

    The limits are those of the process's cgroups and of their parents.
    """
    return min([int(psutil.virtual_memory().total), *MemoryFiles().limits()])


def cgroup_limits(root: Path, membership: Path) -> list[int]:
    """Return the memory limits of the process's cgroups and their parents, in bytes.

    Empty where there are none.
    """
    return MemoryFiles(root, membership).limits()


@contextmanager
def nvml() -> Iterator[bool]:
    """Open NVIDIA's library for the body; false where there is no driver."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield False
        return
    try:
        yield True
    finally:
        pynvml.nvmlShutdown()


def _gpus() -> tuple[Device, ...]:
    """Return the GPUs that NVML knows, in its order.

    Empty without a driver or without GPUs.
    """
    with nvml() as works:
        try:
            return tuple(_gpu(index) for index in range(pynvml.nvmlDeviceGetCount())) if works else ()
        except pynvml.NVMLError:
            return ()


def _gpu(index: int) -> Device:
    """Return one GPU as a device."""
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    capacity = int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
    name = str(pynvml.nvmlDeviceGetName(handle))
    return Device(f"cuda:{index}", "cuda", name, capacity, reserve_bytes(capacity), host_isa())
