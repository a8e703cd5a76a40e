"""Starts a leader that outlives the daemon.

It has a session of its own, its output goes to a file, its identity is in its arguments and its mark in its environment.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from echoplaned.core.text import escape
from echoplaned.engine_kinds import DEFAULT_KIND, EngineKind
from echoplaned.engine_kinds.kind import PYTHON
from echoplaned.worker_contract.mark import VARIABLE, make_mark, read_state_dir_id
from echoplaned.worker_contract.record import check_worker_id, records_dir

_LOGS_RETAINED: Final = 50
_TAIL_BYTES: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class LaunchOptions:
    """Where and how leaders are started.

    Without bytecode a worker compiles all of its libraries' Python code at each start, which takes two thirds of its warm-up.

    Attributes:
        state_dir: the daemon's state directory.
        python: interpreter that leaders run in.
        bytecode_cache: directory for bytecode, used only where the environment forbids it beside the sources; None: it is not kept.
        exact_memory: whether freed memory is handed back at once, for measurements of what a model needs.
        kind: kind of the engine.
    """

    state_dir: Path
    python: str = sys.executable
    bytecode_cache: Path | None = None
    exact_memory: bool = False
    kind: EngineKind = DEFAULT_KIND


def default_bytecode_cache(home: Path) -> Path:
    """Return the directory where leaders keep compiled bytecode by default.

    It is used where they may not keep it beside the sources.
    """
    return home / ".cache" / "echoplane" / "bytecode"


def leader_arguments(worker_id: str, options: LaunchOptions, *, urgent: bool) -> list[str]:
    """Return the command line of a leader."""
    arguments = [options.python if word == PYTHON else word for word in options.kind.command]
    arguments += ["--worker-id", check_worker_id(worker_id), "--state-dir", str(options.state_dir)]
    return [*arguments, "--urgent"] if urgent else arguments


def leader_environment(options: LaunchOptions, mark: str = "") -> dict[str, str]:
    """Return the environment of a leader.

    It is the daemon's own, what its kind sets, and its mark.
    """
    environment = {**os.environ, **options.kind.environment(os.environ, options.exact_memory), VARIABLE: mark}
    if options.bytecode_cache is not None and environment.pop("PYTHONDONTWRITEBYTECODE", ""):
        environment.setdefault("PYTHONPYCACHEPREFIX", str(options.bytecode_cache))
    return environment


def standby_mark(worker_id: str, state_dir: Path) -> str:
    """Return the mark of a leader that has no instance yet."""
    return make_mark(read_state_dir_id(records_dir(state_dir)), worker_id, 0)


def log_path(state_dir: Path, worker_id: str) -> Path:
    """Return where a leader's output goes."""
    return state_dir / "logs" / f"{check_worker_id(worker_id)}.log"


def launch(worker_id: str, options: LaunchOptions, *, urgent: bool, mark: str = "") -> int:
    """Start a leader and return its pid.

    It has a session and a process group of its own.

    ``mark``: of its instance; empty: it stands by for any.

    Raises:
        OSError: the process could not be started.
    """
    path = log_path(options.state_dir, worker_id)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _prune_logs(path.parent)
    # A file, not a pipe: a pipe would kill an adopted leader with EPIPE once its first daemon has gone.
    appending = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    arguments = leader_arguments(worker_id, options, urgent=urgent)
    return os.posix_spawnp(
        arguments[0],
        arguments,
        leader_environment(options, mark or standby_mark(worker_id, options.state_dir)),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(path), appending, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )


def last_log_lines(state_dir: Path, worker_id: str, count: int = 5) -> str:
    """Return the end of a leader's output; empty if there is none.

    It is escaped line by line: an engine writes what it likes.
    """
    try:
        with log_path(state_dir, worker_id).open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            lines = deque(
                (escape(line) for line in file.read().decode("utf-8", errors="replace").splitlines() if line.strip()),
                count,
            )
    except OSError:
        return ""
    return "\n".join(lines)


def _prune_logs(directory: Path) -> None:
    """Keep the newest logs of leaders that have gone."""
    records = records_dir(directory.parent)
    ended = [path for path in directory.glob("*.log") if not (records / f"{path.stem}.json").exists()]
    logs = sorted(ended, key=lambda path: path.stat().st_mtime, reverse=True)
    for old in logs[_LOGS_RETAINED:]:
        old.unlink(missing_ok=True)
