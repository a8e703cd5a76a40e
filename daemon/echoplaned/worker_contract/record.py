"""The file that a leader keeps about itself.

By it a restarted daemon can adopt the leader.

A leader writes ``STATE_DIR/instances/ID.json`` before anything else and holds a lock on ``ID.lock`` for its lifetime: a held
lock means that the process lives, whatever its state. Standard library only, because a worker imports this before
everything that is slow.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import stat
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Final, Self

from echoplaned import process_files
from echoplaned.core.endpoints import Endpoint, EndpointProtocol, tcp_endpoint
from echoplaned.worker_contract.control_key import draw_key, is_key
from echoplaned.worker_contract.locks import is_locked
from echoplaned.worker_contract.mark import VARIABLE
from echoplaned.worker_contract.version import CONTRACT_VERSION, FIRST_CONTRACT

_WORKER_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_START_TIME: Final = 19  # proc(5): field of /proc/PID/stat from the state on, in clock ticks since boot
_LINKS: Final = ".source"
_SCRATCH: Final = ".scratch"
_FOLDERS: Final = (_LINKS, _SCRATCH)
_SOCKET: Final = ".sock"
_MAX_RECORD_BYTES: Final = 64 * 1024
_OTHERS: Final = 0o077  # permission bits of the group and of everybody
_MAX_NUMBER: Final = 2**63 - 1


class WorkerPhase(StrEnum):
    """How far a leader has come. WARMING, STANDBY: on its way to, or on, standby."""

    WARMING = "WARMING"
    STANDBY = "SPARE"  # the word in records of earlier releases
    LOADING = "LOADING"
    READY = "READY"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """What a leader says of itself.

    Attributes:
        worker_id: leader's id, as in the record's name.
        pid: process id of the leader.
        start_ticks: its start time in clock ticks since boot, as in ``/proc/PID/stat``; with ``boot_id`` and ``pid`` it names a
            process for good, since a pid alone is used again.
        boot_id: kernel's id of the boot.
        phase: phase that the leader has come to.
        address: ``host:port`` of its control service and of OIP over gRPC; empty until the port is bound.
        instance: instance, ``model/version#ordinal``, as the core writes it; empty while it is on standby.
        generation: generation of the instance, from 1; 0 while it is on standby.
        kind: kind of the engine; empty in contract 1, which knew one kind only.
        contract: version of the contract that it speaks.
        mark: value of ``ECHOPLANE_INSTANCE`` in its environment; empty in contract 1.
        endpoints: endpoints where the instance answers; in contract 1 its address.
        control_key: key that control calls must carry; empty in records of earlier releases, whose leaders ask for none.
    """

    worker_id: str
    pid: int
    start_ticks: int
    boot_id: str
    phase: WorkerPhase = WorkerPhase.WARMING
    address: str = ""
    instance: str = ""
    generation: int = 0
    kind: str = ""
    contract: int = FIRST_CONTRACT
    mark: str = ""
    endpoints: tuple[Endpoint, ...] = ()
    control_key: str = field(default="", repr=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a record.

        Raises:
            ValueError: the text is not a record.
        """
        try:
            data = json.loads(text)
        except RecursionError as error:
            raise ValueError("a leader's record is nested without end") from error
        if not isinstance(data, dict):
            raise ValueError("a leader's record is a JSON object")  # noqa: TRY004 - bad data, not a bad caller
        known = {one.name: one.type for one in fields(cls)}
        endpoints = _read_endpoints(data.pop("endpoints", []))
        values = {name: value for name, value in data.items() if name in known}
        for name, value in values.items():
            wanted = int if known[name] == "int" else str
            if type(value) is not wanted or (isinstance(value, int) and not 0 <= value <= _MAX_NUMBER):
                raise ValueError(f"a leader's record holds a bad {name}")
        if values.get("control_key") and not is_key(values["control_key"]):
            raise ValueError("a leader's record holds a bad control_key")
        try:
            record = cls(**values)
        except TypeError as error:
            raise ValueError(f"a leader's record is incomplete: {error}") from error
        check_worker_id(record.worker_id)  # it becomes part of the names of files that are removed
        if not endpoints and record.address:
            endpoints = (tcp_endpoint(EndpointProtocol.OIP_GRPC, record.address),)
        return replace(record, phase=WorkerPhase(record.phase), endpoints=endpoints)

    def to_json(self) -> str:
        """Write the record as one line of JSON."""
        endpoints = [{"protocol": one.protocol.value, "address": one.address} for one in self.endpoints]
        return json.dumps({**asdict(self), "endpoints": endpoints}, sort_keys=True)


def _read_endpoints(data: object) -> tuple[Endpoint, ...]:
    """Read the endpoints of a record.

    One whose protocol is of a later release is left out.

    Raises:
        ValueError: they are not a list of endpoints.
    """
    if not isinstance(data, list):
        raise ValueError("a leader's record holds bad endpoints")  # noqa: TRY004 - bad data, not a bad caller
    found: list[Endpoint] = []
    for one in data:
        protocol, address = (one.get("protocol"), one.get("address")) if isinstance(one, dict) else (None, None)
        if not isinstance(protocol, str) or not isinstance(address, str):
            raise ValueError("a leader's record holds a bad endpoint")  # noqa: TRY004 - as above
        with contextlib.suppress(ValueError):
            found.append(Endpoint(EndpointProtocol(protocol), address))
    return tuple(found)


class RecordTakenError(RuntimeError):
    """Another live process holds this leader's id."""


def is_worker_id(text: str) -> bool:
    """Whether a text has the form of a worker's id."""
    return _WORKER_ID.fullmatch(text) is not None


def check_worker_id(worker_id: str) -> str:
    """Return the id if it may become part of a file name.

    Raises:
        ValueError: it may not.
    """
    if not is_worker_id(worker_id):
        raise ValueError(f"a worker id is lower-case letters, digits and dashes, at most 63: {worker_id!r}")
    return worker_id


def read_boot_id() -> str:
    """Return the kernel's id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def read_start_ticks(pid: int) -> int | None:
    """Return when a process was started, in clock ticks since boot.

    None if there is no such process or it is a zombie.
    """
    try:
        fields = process_files.read_stat(pid)
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(fields[_START_TIME]) if fields else None


def records_dir(state_dir: Path) -> Path:
    """Return where the leaders of a state directory keep their records."""
    return state_dir / "instances"


class RecordFile:
    """A leader's own access to its record.

    It claims the record once, rewrites it whole at each change, and removes it at a clean exit.

    Args:
        state_dir: the daemon's state directory.
        worker_id: this leader's id, as in its command line.
        kind: the kind of engine that it leads.
    """

    def __init__(self, state_dir: Path, worker_id: str, kind: str) -> None:
        directory = records_dir(state_dir)
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if directory.stat().st_mode & _OTHERS:
            directory.chmod(0o700)  # it was made by hand, or copied: what is in it is for this user alone
        self._path = directory / f"{check_worker_id(worker_id)}.json"
        self._lock_path = self._path.with_suffix(".lock")
        self._lock_fd = _lock(self._lock_path)
        pid = os.getpid()
        self._record = WorkerRecord(
            worker_id,
            pid,
            read_start_ticks(pid) or 0,
            read_boot_id(),
            kind=kind,
            contract=CONTRACT_VERSION,
            mark=os.environ.get(VARIABLE, ""),
            control_key=draw_key(),
        )
        self._write()

    @property
    def record(self) -> WorkerRecord:
        """The record as it was last written."""
        return self._record

    @property
    def links_dir(self) -> Path:
        """Directory for links to the files of a checkpoint while it is loaded.

        It is this leader's own.
        """
        return self._path.with_suffix(_LINKS)

    @property
    def scratch_dir(self) -> Path:
        """Directory for whatever this leader's engine writes.

        It is this leader's own, and removed with the record.
        """
        return self._path.with_suffix(_SCRATCH)

    @property
    def socket_path(self) -> Path:
        """Where its engine may listen."""
        return self._path.with_suffix(_SOCKET)

    def update(
        self,
        phase: WorkerPhase,
        *,
        address: str | None = None,
        instance: str | None = None,
        generation: int | None = None,
        endpoints: tuple[Endpoint, ...] | None = None,
    ) -> None:
        """Write a new phase, and what else is given.

        ``address`` is an endpoint where no endpoints are given.
        """
        old = self._record
        if endpoints is None and address is not None:
            endpoints = (tcp_endpoint(EndpointProtocol.OIP_GRPC, address),)
        self._record = replace(
            old,
            phase=phase,
            address=old.address if address is None else address,
            instance=old.instance if instance is None else instance,
            generation=old.generation if generation is None else generation,
            endpoints=old.endpoints if endpoints is None else endpoints,
        )
        self._write()

    def release(self) -> None:
        """Remove the record and let go of the lock."""
        self._path.unlink(missing_ok=True)
        for suffix in _FOLDERS:
            shutil.rmtree(self._path.with_suffix(suffix), ignore_errors=True)
        self._path.with_suffix(_SOCKET).unlink(missing_ok=True)
        self._lock_path.unlink(missing_ok=True)
        os.close(self._lock_fd)

    def _write(self) -> None:
        temporary = self._path.with_suffix(".tmp")
        temporary.unlink(missing_ok=True)  # one that a crash left may have another mode, or be a link
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(self._record.to_json() + "\n")
        temporary.replace(self._path)


def _lock(path: Path) -> int:
    """Open and lock a file; the descriptor is not inherited by children."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise RecordTakenError(f"another process holds {path.name}") from None
    return descriptor


def read_record_text(path: Path) -> str | None:
    """Return what a record's file holds; None where it is no file that can be read.

    An engine may write into the directory of records: what it puts there (a pipe, a directory, a link) holds nobody up.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        return os.read(descriptor, _MAX_RECORD_BYTES).decode("utf-8") if is_file else None
    except (OSError, UnicodeDecodeError):
        return None
    finally:
        os.close(descriptor)


def read_record(path: Path) -> WorkerRecord | None:
    """Return the record in a file.

    None where there is none, or it is damaged or another leader's.
    """
    text = read_record_text(path)
    if text is None:
        return None
    try:
        record = WorkerRecord.from_json(text)
    except ValueError:
        return None
    return record if record.worker_id == path.stem else None


def read_records(state_dir: Path) -> tuple[WorkerRecord, ...]:
    """Return every readable record of a state directory, ordered by worker id."""
    paths = sorted(records_dir(state_dir).glob("*.json"))
    return tuple(record for path in paths if (record := read_record(path)) is not None)


def delete_record(state_dir: Path, worker_id: str) -> None:
    """Remove what a leader that is gone for good has left behind."""
    path = records_dir(state_dir) / f"{check_worker_id(worker_id)}.json"
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    for suffix in _FOLDERS:
        shutil.rmtree(path.with_suffix(suffix), ignore_errors=True)
    for suffix in (".lock", ".tmp", _SOCKET):
        path.with_suffix(suffix).unlink(missing_ok=True)


def is_claimed(state_dir: Path, worker_id: str) -> bool:
    """Say whether a process holds the lock of a leader of this very directory.

    The record that a copy of the directory has says the same of the process, and nobody holds the copied lock.
    """
    return is_locked(records_dir(state_dir) / f"{check_worker_id(worker_id)}.lock")


def is_alive(record: WorkerRecord, boot_id: str) -> bool:
    """Say whether the very process that wrote a record is still running."""
    return record.boot_id == boot_id and read_start_ticks(record.pid) == record.start_ticks
