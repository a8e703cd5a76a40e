"""Finds which leaders of a state directory are alive.

By their records, and by the process table for those that have none yet.
"""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import dataclass
from pathlib import Path

from echoplaned import process_files
from echoplaned.engine_kinds import KINDS, EngineKind, find_kind
from echoplaned.worker_contract.family import Family, find_members, read_mark
from echoplaned.worker_contract.record import (
    WorkerPhase,
    WorkerRecord,
    is_alive,
    is_claimed,
    is_worker_id,
    read_boot_id,
    read_record,
    read_record_text,
    read_start_ticks,
    records_dir,
)


@dataclass(frozen=True, slots=True)
class FoundLeader:
    """One live leader.

    Attributes:
        worker_id: leader's id.
        kind: kind of engine that it leads.
        family: processes of its engine, its own first.
        record: leader's record; None: it has not written it yet, or nobody can read it.
        is_damaged: whether there is a record that nobody can read: what it leads, and where it listens, is not known any more.
    """

    worker_id: str
    kind: EngineKind
    family: Family
    record: WorkerRecord | None
    is_damaged: bool = False

    @property
    def pid(self) -> int:
        """The leader's process."""
        return self.family.leader_pid

    @property
    def is_standby(self) -> bool:
        """Whether it has no instance yet, and may get one."""
        if self.record is None:
            return not self.is_damaged
        return not self.record.instance and self.record.phase in {WorkerPhase.WARMING, WorkerPhase.STANDBY}


@dataclass(frozen=True, slots=True)
class ForeignRecord:
    """A record whose engine is left alone.

    A later release wrote it, of a kind that this one does not know; or it was copied here with the state directory of another daemon.

    Attributes:
        worker_id: id of the leader whose record it is.
        kind: kind that the record names.
        family: processes of its engine, as far as the record says.
        is_copied: whether the leader lives and is of another directory.
    """

    worker_id: str
    kind: str
    family: Family
    is_copied: bool = False

    def __str__(self) -> str:
        if self.is_copied:
            return (
                f"{self.worker_id}.json was copied here: its engine (process {self.family.leader_pid}) is of the directory that this one"
                " is a copy of, and was neither adopted nor ended; its memory is in use for as long as that daemon has it"
            )
        return (
            f"{self.worker_id}.json is of an engine of kind {self.kind[:64]!r} (process {self.family.leader_pid}), which this daemon does"
            " not know: it was neither adopted nor ended, and its memory is in use; run the release that started it, or end it by hand"
        )


@dataclass(frozen=True, slots=True)
class Inventory:
    """What is in a state directory.

    Attributes:
        leaders: leaders that live.
        dead: records of leaders that have gone, whose engines may not have.
        foreign: records of unknown kinds whose engines live.
    """

    leaders: tuple[FoundLeader, ...]
    dead: tuple[WorkerRecord, ...]
    foreign: tuple[ForeignRecord, ...]


def scan(state_dir: Path, kinds: tuple[EngineKind, ...] = KINDS) -> tuple[FoundLeader, ...]:
    """Return every live leader of a state directory. Blocking."""
    return take_inventory(state_dir, kinds).leaders


def take_inventory(state_dir: Path, kinds: tuple[EngineKind, ...] = KINDS) -> Inventory:
    """Look at every record and at the process table; changes nothing. Blocking."""
    boot_id = read_boot_id()
    found: dict[str, FoundLeader] = {}
    dead: list[WorkerRecord] = []
    foreign = _foreign_records(state_dir, kinds)
    for path in sorted(records_dir(state_dir).glob("*.json")):
        record = None if path.stem in foreign else read_record(path)
        kind = find_kind(record.kind, kinds) if record is not None else None
        if record is None or kind is None:
            continue
        if is_alive(record, boot_id) and not _is_of(state_dir, record):
            foreign[record.worker_id] = ForeignRecord(record.worker_id, record.kind, family_of(record), is_copied=True)
        elif is_alive(record, boot_id):
            found[record.worker_id] = FoundLeader(record.worker_id, kind, family_of(record), record)
        else:
            dead.append(record)
    for one in _processes(state_dir, kinds):
        if one.worker_id not in foreign:
            found.setdefault(one.worker_id, one)
    return Inventory(
        tuple(found.values()),
        tuple(record for record in dead if record.worker_id not in found),
        tuple(one for one in foreign.values() if find_members(one.family)),
    )


def family_of(record: WorkerRecord) -> Family:
    """Return the processes that a record speaks of."""
    return Family(record.pid, record.start_ticks, record.mark)


def _is_of(state_dir: Path, record: WorkerRecord) -> bool:
    """Whether a leader is of this very directory, and not of what it was copied from.

    It holds its lock here, also where the directory was moved since. Where another directory was put in the place of its own (a backup
    that was taken back), its command line names the place, and nobody else can have it.
    """
    claimed = is_claimed(state_dir, record.worker_id)
    return claimed or _worker_id(_arguments(record.pid), state_dir) == record.worker_id


def _foreign_records(state_dir: Path, kinds: tuple[EngineKind, ...]) -> dict[str, ForeignRecord]:
    """Return the records of unknown kinds, by worker id.

    Whatever else a later release writes there need not make sense.
    """
    found: dict[str, ForeignRecord] = {}
    for path in sorted(records_dir(state_dir).glob("*.json")):
        try:
            data = json.loads(read_record_text(path) or "")
        except (ValueError, RecursionError):
            continue
        kind = data.get("kind", "") if isinstance(data, dict) else ""
        if isinstance(kind, str) and find_kind(kind, kinds) is not None:
            continue
        pid, ticks, mark = (data.get(name) for name in ("pid", "start_ticks", "mark"))
        family = Family(
            pid if type(pid) is int else 0,
            ticks if type(ticks) is int else 0,
            mark if isinstance(mark, str) else "",
        )
        found[path.stem] = ForeignRecord(path.stem, str(kind), family)
    return found


def _processes(state_dir: Path, kinds: tuple[EngineKind, ...]) -> list[FoundLeader]:
    """Return each process of this user whose arguments say that it leads here.

    Leaders run as the daemon does. Anybody may start a process with the same words, and it would be waited for as if it stood by.
    """
    leaders: list[FoundLeader] = []
    own_uid = os.geteuid()
    for pid in process_files.process_ids():
        arguments = _arguments(pid) if process_files.owner(pid) == own_uid else []
        kind = next((one for one in kinds if one.command and one.command[-1] in arguments), None)
        worker_id = _worker_id(arguments, state_dir) if kind is not None else ""
        start_ticks = read_start_ticks(pid) if is_worker_id(worker_id) else None
        if kind is not None and start_ticks is not None:
            # Read again: it may have been written, whole, since the records were looked at.
            path = records_dir(state_dir) / f"{worker_id}.json"
            is_damaged = os.path.lexists(path) and read_record(path) is None
            family = Family(pid, start_ticks, read_mark(pid))
            leaders.append(FoundLeader(worker_id, kind, family, None, is_damaged))
    return leaders


def _arguments(pid: int) -> list[str]:
    """Return a process's arguments.

    None for a zombie, or where it has gone or is not ours to look at.
    """
    try:
        return process_files.read_text(pid, "cmdline").split("\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return []


def _worker_id(arguments: list[str], state_dir: Path) -> str:
    """Return the leader's id in a command line; empty if it is not of this directory."""
    values = dict(itertools.pairwise(arguments))
    return values.get("--worker-id", "") if values.get("--state-dir") == str(state_dir) else ""
