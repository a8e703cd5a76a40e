"""What is free on the devices now, and who holds the rest.

What of it our engines hold, and who holds the largest parts of what they do not. Every function blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import pynvml

from echoplaned.core.memory import MeasuredMemory, MemoryHolder
from echoplaned.core.plan import Device
from echoplaned.planning.devices import HOST_DEVICE_ID
from echoplaned.planning.host_memory import MemoryFiles
from echoplaned.planning.host_processes import FamilyBytes, descendants, largest_holders, process_name

_MIB: Final = 1024 * 1024
_MAX_HOLDERS: Final = 8
_NEWS_BYTES: Final = 64 * _MIB
"""Host processes are looked for anew when others hold so much more or less than when they were last looked for."""

OwnProcesses = Callable[[], frozenset[int]]
"""The processes that lead our engines' sessions; called from whatever thread measures."""


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process on a GPU.

    Attributes:
        pid: its process id, as the driver names it.
        bytes: GPU memory that it holds; None where the driver does not say.
    """

    pid: int
    bytes: int | None


class Meter:
    """Measures a host's devices.

    Those that do not answer are left out: what is reserved counts alone there.

    Args:
        devices: what is measured.
        own: who leads our engines.
        files: where the kernel tells of the host's memory.
    """

    def __init__(self, devices: Iterable[Device], own: OwnProcesses, files: MemoryFiles | None = None) -> None:
        self._devices = tuple(devices)
        self._own = own
        self._files = files or MemoryFiles()
        self._family_bytes = FamilyBytes()
        self._host: MeasuredMemory | None = None
        self._is_open = False

    def measure(self) -> tuple[MeasuredMemory, ...]:
        """Measure every device."""
        families = [descendants((leader,)) for leader in self._own()]
        own = frozenset[int]().union(*families)
        gpus = [int(one.device_id.partition(":")[2]) for one in self._devices if one.kind == "cuda"]
        found = list(_measure_gpus(gpus, own)) if gpus and self._open_driver() else []
        if any(one.device_id == HOST_DEVICE_ID for one in self._devices):
            found.append(self._measure_host(own, self._family_bytes.add_up(families)))
        return tuple(found)

    def _open_driver(self) -> bool:
        """Open NVIDIA's library once, and say whether it is open.

        Where nobody else has it open, each opening wakes the GPUs up.
        """
        if not self._is_open:
            try:
                pynvml.nvmlInit()
            except pynvml.NVMLError:
                return False
            self._is_open = True
        return True

    def _measure_host(self, own: frozenset[int], held: int) -> MeasuredMemory:
        room = self._files.tightest()
        now = MeasuredMemory(HOST_DEVICE_ID, room.total_bytes, room.free_bytes, held)
        before = self._host
        is_news = before is None or abs(now.foreign_bytes(0) - before.foreign_bytes(0)) >= _NEWS_BYTES
        if is_news:
            self._host = now = replace(now, holders=largest_holders(own))
        return now if before is None or is_news else replace(now, holders=before.holders)


def _measure_gpus(numbers: Iterable[int], own: frozenset[int]) -> Iterable[MeasuredMemory]:
    """Yield the GPUs that answer."""
    for number in numbers:
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(number)
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
            total_bytes, free_bytes = int(memory.total), int(memory.free)
        except pynvml.NVMLError:
            continue  # it fell off the bus, or is being reset
        processes = _gpu_processes(handle)
        held, others = own_bytes(processes, own), foreign_holders(processes, own)
        yield MeasuredMemory(f"cuda:{number}", total_bytes, free_bytes, held, others)


def _gpu_processes(handle: object) -> tuple[GpuProcess, ...] | None:
    """Return the processes on a GPU; None where the driver does not tell."""
    found: dict[int, int | None] = {}
    try:
        for one in pynvml.nvmlDeviceGetComputeRunningProcesses(handle):
            found[int(one.pid)] = None if one.usedGpuMemory is None else int(one.usedGpuMemory)
    except pynvml.NVMLError:
        return None
    return tuple(GpuProcess(pid, held) for pid, held in found.items())


def own_bytes(
    processes: tuple[GpuProcess, ...] | None, own: frozenset[int], name: Callable[[int], str] = process_name
) -> int | None:
    """Return the bytes that our engines hold of a GPU.

    None where that cannot be told from what others hold.
    In a container the driver names processes by numbers of the host's, under which nobody is known here.
    """
    if processes is None:
        return None
    ours = [one for one in processes if one.pid in own]
    strangers = any(not name(one.pid) for one in processes if one.pid not in own)
    if any(one.bytes is None for one in ours) or (own and not ours and strangers):
        return None
    return sum(one.bytes or 0 for one in ours)


def foreign_holders(
    processes: tuple[GpuProcess, ...] | None, own: frozenset[int], name: Callable[[int], str] = process_name
) -> tuple[MemoryHolder, ...]:
    """Return the processes on a GPU that are not our engines', the largest first."""
    others = [one for one in processes or () if one.pid not in own]
    others.sort(key=lambda one: (-(one.bytes or 0), one.pid))
    return tuple(
        MemoryHolder(f"{name(one.pid) or 'a process'} (pid {one.pid})", one.bytes or 0) for one in others[:_MAX_HOLDERS]
    )


def differs(before: Iterable[MeasuredMemory], now: Iterable[MeasuredMemory]) -> bool:
    """Say whether a measurement differs from the last one enough to be told.

    Enough: a device more or less, or 16 MiB of one, or another process on it.
    """
    old: Mapping[str, MeasuredMemory] = {one.device_id: one for one in before}
    new: Mapping[str, MeasuredMemory] = {one.device_id: one for one in now}
    return old.keys() != new.keys() or any(_differ(old[name], one) for name, one in new.items())


def _differ(before: MeasuredMemory, now: MeasuredMemory) -> bool:
    names = [one.name for one in before.holders] != [one.name for one in now.holders]
    parts = ((before.free_bytes, now.free_bytes), (before.own_bytes or 0, now.own_bytes or 0))
    known = (before.own_bytes is None) != (now.own_bytes is None)
    return names or known or any(abs(one - other) >= 16 * _MIB for one, other in parts)
