"""Start one Envoy that outlives the daemon, by way of ``envoy_launcher``."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Final

from echoplaned.gateway.bootstrap import make_bootstrap
from echoplaned.gateway.options import GatewayOptions, application_log
from echoplaned.gateway.records import EnvoyRecord, last_generation, read_live, record_path
from echoplaned.worker_contract.locks import is_locked
from echoplaned.worker_contract.record import read_boot_id

_LAUNCHER: Final = Path(__file__).with_name("envoy_launcher.py")
_LAUNCH_S: Final = 30.0
_POLL_S: Final = 0.01


class LaunchError(RuntimeError):
    """Envoy could not be started."""


def plan_record(options: GatewayOptions, hot_restart_version: str, predecessor: EnvoyRecord | None) -> EnvoyRecord:
    """Return the record of the next Envoy.

    Args:
        options: how it is run.
        hot_restart_version: what its binary says.
        predecessor: the Envoy that it takes over from, which lives; None: there is none.
    """
    first = EnvoyRecord(
        generation=last_generation(options.state_dir) + 1,
        epoch=0,
        base_id=options.base_id,
        hot_restart_version=hot_restart_version,
        digest=digest_of(options, hot_restart_version),
        listening=options.listening,
        boot_id=read_boot_id(),
    )
    if predecessor is None:
        # One that drains still uses its memory and its sockets.
        taken = {each.base_id for each in read_live(options.state_dir)}
        free = next(base_id for base_id in range(first.base_id, first.base_id + len(taken) + 1) if base_id not in taken)
        return replace(first, base_id=free)
    if predecessor.hot_restart_version == hot_restart_version:
        return replace(first, epoch=predecessor.epoch + 1, base_id=predecessor.base_id)
    # They cannot share memory: both listen for a while, and each gets some of the new connections.
    return replace(first, base_id=predecessor.base_id + 1)


def digest_of(options: GatewayOptions, hot_restart_version: str) -> str:
    """Return a digest of everything that only a new process can change."""
    started_with = [
        make_bootstrap(options, 0),
        _flags(options),
        options.listening,
        options.version,
        hot_restart_version,
    ]
    content = json.dumps(started_with, sort_keys=True)
    return blake2b(content.encode(), digest_size=8).hexdigest()


async def launch_envoy(options: GatewayOptions, record: EnvoyRecord) -> EnvoyRecord:
    """Start Envoy and return its record with its process.

    Called on the event loop's own thread: what Envoy is told when its parent ends is about the parent's thread, and one of a pool may
    end at any time.

    Raises:
        LaunchError: it was not started.
    """
    options.folder.mkdir(mode=0o700, exist_ok=True, parents=True)
    bootstrap = options.folder / f"bootstrap-{record.generation}.json"
    _write_private(bootstrap, json.dumps(make_bootstrap(options, record.generation)))
    path = record_path(options.state_dir, record.generation)
    output = output_path(options)
    output.parent.mkdir(mode=0o700, exist_ok=True, parents=True)
    arguments = [
        *(sys.executable, "-I", "-S", str(_LAUNCHER), str(path), record.to_json(), str(output)),
        *(str(options.binary), "-c", str(bootstrap), *_flags(options)),
        *("--base-id", str(record.base_id), "--restart-epoch", str(record.epoch)),
    ]
    pid = _spawn(arguments)
    await asyncio.to_thread(os.waitpid, pid, 0)
    return await _wait_for_record(options, record.generation)


def output_path(options: GatewayOptions) -> Path:
    """Return the file of what Envoy prints beside its log: why it did not start."""
    return options.state_dir / "logs" / "gateway-output.log"


def last_words(options: GatewayOptions, count: int = 400) -> str:
    """Return the end of what the last Envoy printed."""
    try:
        return output_path(options).read_text(encoding="utf-8", errors="replace").strip()[-count:]
    except OSError:
        return ""


def _spawn(arguments: list[str]) -> int:
    try:
        return os.posix_spawn(sys.executable, arguments, _environment(), setsid=True)
    except OSError as error:
        raise LaunchError(f"Envoy could not be started: {error}") from error


async def _wait_for_record(options: GatewayOptions, generation: int) -> EnvoyRecord:
    deadline = time.monotonic() + _LAUNCH_S
    path = record_path(options.state_dir, generation)
    while time.monotonic() < deadline:
        found = next((each for each in read_live(options.state_dir) if each.generation == generation), None)
        if found is not None and found.pid:
            return found
        if path.exists() and not is_locked(path) and path.stat().st_size:
            break
        await asyncio.sleep(_POLL_S)
    raise LaunchError(f"Envoy did not start: {last_words(options) or 'it said nothing'}")


def _environment() -> dict[str, str]:
    """Return Envoy's environment: nothing of the daemon's that it has no use for."""
    return {
        name: os.environ[name] for name in ("PATH", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH") if name in os.environ
    }


def _flags(options: GatewayOptions) -> list[str]:
    return [
        *("--concurrency", str(options.concurrency)),
        *("--drain-time-s", f"{options.drain_s:.0f}"),
        *("--parent-shutdown-time-s", f"{options.drain_s + 5:.0f}"),
        # A file below the state directory, not a name that every process of the machine could bind first.
        *("--socket-path", str(options.folder / "hot"), "--socket-mode", "600"),
        *("--log-path", str(application_log(options.state_dir)), "--log-level", "info"),
        *("--file-flush-interval-msec", "1000"),
    ]


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
