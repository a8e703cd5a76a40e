"""Which worker processes of a state directory are alive: by their records, and by the process table for those that have none yet."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

from echoplaned.engines.launcher import MODULE
from echoplaned.engines.record import (
    WorkerPhase,
    WorkerRecord,
    forget_record,
    is_alive,
    read_boot_id,
    read_records,
    read_start_ticks,
)


@dataclass(frozen=True, slots=True)
class FoundWorker:
    """One live worker. ``record`` is None where it has not written one yet."""

    worker_id: str
    pid: int
    start_ticks: int
    record: WorkerRecord | None

    @property
    def is_spare(self) -> bool:
        """Whether it has no instance yet, and may get one."""
        return self.record is None or (
            not self.record.instance and self.record.phase in {WorkerPhase.WARMING, WorkerPhase.SPARE}
        )


def scan(state_dir: Path) -> tuple[FoundWorker, ...]:
    """Return every live worker of a state directory and remove the records of those that have gone. Blocking."""
    boot_id = read_boot_id()
    found: dict[str, FoundWorker] = {}
    dead: list[WorkerRecord] = []
    for record in read_records(state_dir):
        if is_alive(record, boot_id):
            found[record.worker_id] = FoundWorker(record.worker_id, record.pid, record.start_ticks, record)
        else:
            dead.append(record)
    for worker_id, pid, start_ticks in _processes(state_dir):
        found.setdefault(worker_id, FoundWorker(worker_id, pid, start_ticks, None))
    for record in dead:
        if record.worker_id not in found:
            forget_record(state_dir, record.worker_id)
    return tuple(found.values())


def _processes(state_dir: Path) -> list[tuple[str, int, int]]:
    """Return worker id, pid and start time of each process whose arguments say that it is a worker of this directory."""
    workers: list[tuple[str, int, int]] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        worker_id = _worker_id(_arguments(entry), state_dir)
        start_ticks = read_start_ticks(int(entry.name)) if worker_id else None
        if start_ticks is not None:
            workers.append((worker_id, int(entry.name), start_ticks))
    return workers


def _arguments(entry: Path) -> list[str]:
    """Return a process's arguments; none for a zombie, or where it has gone or is not ours to look at."""
    try:
        return (entry / "cmdline").read_bytes().decode("utf-8", errors="replace").split("\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return []


def _worker_id(arguments: list[str], state_dir: Path) -> str:
    """Return the worker id in a command line; empty if it is not a worker of this directory."""
    if MODULE not in arguments:
        return ""
    values = dict(itertools.pairwise(arguments))
    return values.get("--worker-id", "") if values.get("--state-dir") == str(state_dir) else ""
