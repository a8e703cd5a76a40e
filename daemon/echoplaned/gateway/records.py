"""The gateway's records: one locked file for each Envoy that was started.

The launcher writes the record and takes the lock before Envoy is executed in its place. The lock belongs to the open file, which Envoy
inherits: a held lock means that the process lives, whatever else is true. Two Envoys of one base id and epoch would both run, and each
would get half of the callers.
"""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, Self

from echoplaned.gateway.options import admin_socket, gateway_dir
from echoplaned.worker_contract.locks import is_locked

_NAME: Final = re.compile(r"envoy-([0-9]{1,12})\.json")
_MAX_BYTES: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class EnvoyRecord:
    """One Envoy that was started.

    Attributes:
        generation: counts the Envoys of a state directory.
        epoch: Envoy's own count of hot restarts in a row; 0: it took over from nobody.
        base_id: number of its shared memory.
        hot_restart_version: which Envoys can take over from it.
        digest: of what it was started with; another one asks for a hot restart.
        listening: ``HOST:PORT`` that it was told to listen on.
        boot_id: the kernel's id of the boot.
        pid: its process; 0: not started yet.
        start_ticks: that process's start in clock ticks since boot.
    """

    generation: int
    epoch: int
    base_id: int
    hot_restart_version: str
    digest: str
    listening: str
    boot_id: str
    pid: int = 0
    start_ticks: int = 0

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a record.

        Raises:
            ValueError: the text is none.
        """
        data = json.loads(text)
        if not isinstance(data, dict):
            raise ValueError("a gateway's record is a JSON object")  # noqa: TRY004 - bad data, not a bad caller
        values: dict[str, Any] = {}
        for field in fields(cls):
            value = data.get(field.name)
            if type(value) is not (int if field.type == "int" else str):
                raise ValueError(f"a gateway's record holds a bad {field.name}")
            values[field.name] = value
        return cls(**values)

    def to_json(self) -> str:
        """Write the record."""
        return json.dumps(asdict(self), sort_keys=True)


def record_path(state_dir: Path, generation: int) -> Path:
    """Return a generation's record."""
    return gateway_dir(state_dir) / f"envoy-{generation}.json"


def read_live(state_dir: Path) -> list[EnvoyRecord]:
    """Return the records of the Envoys that live, the newest first."""
    paths = sorted(_generations(state_dir).items(), reverse=True)
    return [record for _, path in paths if is_locked(path) and (record := _read(path)) is not None]


def last_generation(state_dir: Path) -> int:
    """Return the newest generation that left a trace; 0: there was none."""
    return max(_generations(state_dir), default=0)


def delete_ended(state_dir: Path) -> None:
    """Remove what ended Envoys left; the newest record stays, for the count."""
    newest = last_generation(state_dir)
    for generation, path in _generations(state_dir).items():
        if is_locked(path):
            continue
        for left in (admin_socket(state_dir, generation), path.with_name(f"bootstrap-{generation}.json")):
            left.unlink(missing_ok=True)
        if generation != newest:
            path.unlink(missing_ok=True)


def _generations(state_dir: Path) -> dict[int, Path]:
    with contextlib.suppress(OSError):
        found = {path: _NAME.fullmatch(path.name) for path in gateway_dir(state_dir).iterdir()}
        return {int(match[1]): path for path, match in found.items() if match}
    return {}


def _read(path: Path) -> EnvoyRecord | None:
    try:
        with path.open("rb") as file:
            return EnvoyRecord.from_json(file.read(_MAX_BYTES).decode())
    except (OSError, ValueError, RecursionError):
        return None
