"""Start a worker process that outlives the daemon: own session, output to a file, its identity in its arguments."""

from __future__ import annotations

import os
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from echoplaned.engines.heap import heap_variables
from echoplaned.engines.record import check_worker_id, records_dir

MODULE: Final = "echoplaned.worker"
_KEPT_LOGS: Final = 50
_TAIL_BYTES: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class LaunchOptions:
    """Where workers live. ``bytecode_cache``: used only where the environment forbids bytecode beside the sources.

    Without bytecode a worker compiles all of torch's Python code at each start, which takes two thirds of its warm-up.
    ``exact_memory``: hand freed memory back at once, for measurements of what a model needs.
    """

    state_dir: Path
    python: str = sys.executable
    bytecode_cache: Path | None = None
    exact_memory: bool = False


def worker_arguments(worker_id: str, options: LaunchOptions, *, urgent: bool) -> list[str]:
    """Return the command line of a worker."""
    arguments = [options.python, "-P", "-m", MODULE]
    arguments += ["--worker-id", check_worker_id(worker_id), "--state-dir", str(options.state_dir)]
    return [*arguments, "--urgent"] if urgent else arguments


def worker_environment(options: LaunchOptions) -> dict[str, str]:
    """Return the environment of a worker: the daemon's own, with the allocator tuned and one thread by default."""
    heap = heap_variables(os.environ, exact=options.exact_memory)
    environment = {**os.environ, **heap, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    if options.bytecode_cache is not None and environment.pop("PYTHONDONTWRITEBYTECODE", ""):
        environment.setdefault("PYTHONPYCACHEPREFIX", str(options.bytecode_cache))
    return environment


def log_path(state_dir: Path, worker_id: str) -> Path:
    """Return where a worker's output goes."""
    return state_dir / "logs" / f"{check_worker_id(worker_id)}.log"


def launch(worker_id: str, options: LaunchOptions, *, urgent: bool) -> int:
    """Start a worker and return its pid; it has a session and a process group of its own.

    Raises:
        OSError: the process could not be started.
    """
    path = log_path(options.state_dir, worker_id)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _prune_logs(path.parent)
    # A file, not a pipe: a pipe would kill an adopted worker with EPIPE once its first daemon has gone.
    appending = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return os.posix_spawn(
        options.python,
        worker_arguments(worker_id, options, urgent=urgent),
        worker_environment(options),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(path), appending, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )


def last_log_lines(state_dir: Path, worker_id: str, count: int = 5) -> str:
    """Return the end of a worker's output; empty if there is none."""
    try:
        with log_path(state_dir, worker_id).open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            lines = deque(
                (line for line in file.read().decode("utf-8", errors="replace").splitlines() if line.strip()), count
            )
    except OSError:
        return ""
    return "\n".join(lines)


def _prune_logs(directory: Path) -> None:
    """Keep the newest logs of workers that have gone."""
    records = records_dir(directory.parent)
    ended = [path for path in directory.glob("*.log") if not (records / f"{path.stem}.json").exists()]
    logs = sorted(ended, key=lambda path: path.stat().st_mtime, reverse=True)
    for old in logs[_KEPT_LOGS:]:
        old.unlink(missing_ok=True)
