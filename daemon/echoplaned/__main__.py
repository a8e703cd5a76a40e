"""The commands ``up``, ``serve``, ``check``, ``stop-engines`` and ``pki``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Mapping, Sequence

import psutil
import structlog

from echoplaned.command_line import PKI, parse
from echoplaned.composition import assemble, find_kinds, steady_clock, wall_clock
from echoplaned.core.errors import DaemonError
from echoplaned.engine_kinds import EngineKind
from echoplaned.engines.engine_processes import EngineProcesses, EngineProcessOptions
from echoplaned.engines.leaders import Clocks, EngineSinks
from echoplaned.engines.unowned import UnownedEnginesError
from echoplaned.engines.worker_totals import WorkerTotals
from echoplaned.front_door import TLS_ADVICE, find_certificate, find_gateway
from echoplaned.gateway.listening import AddressTakenError
from echoplaned.gateway.stopping import stop_gateway
from echoplaned.planning import find_devices
from echoplaned.runtime.clock import boot_moments
from echoplaned.runtime.core_faults import CoreFaultError
from echoplaned.runtime.faults import AdapterFaults
from echoplaned.runtime.heap import settle_heap
from echoplaned.runtime.ids import new_id
from echoplaned.security.pki_names import PkiError
from echoplaned.serving import Beside, ListenError, run
from echoplaned.settings import Settings, SettingsInvalidError, load_settings, old_names_given
from echoplaned.store import SqlStore, StateDirLock, StateDirLockedError, prepare_state_dir
from echoplaned.telemetry.http import MetricsServer
from echoplaned.telemetry.logging import configure_logging
from echoplaned.up import Guide, UpError, prepare

log = structlog.get_logger(__name__)


async def _serve(settings: Settings, beside: Beside | None = None) -> None:
    prepare_state_dir(settings.state_dir)
    clock = steady_clock(settings)
    with (
        StateDirLock(settings.state_dir) as lock,
        contextlib.closing(SqlStore.open(settings.state_dir, lock, boot_moments(clock))) as store,
    ):
        daemon = assemble(settings, store, clock)
        metrics = MetricsServer(settings.metrics_listen, daemon.metrics.registry) if settings.metrics_listen else None
        try:
            await run(daemon, beside)
        finally:
            if metrics is not None:
                metrics.stop()


async def _up(settings: Settings, guide: Guide) -> None:
    """Run the daemon as ``serve`` does, with the guide beside it.

    Where one runs on the state directory already, the guide speaks of that one.
    """
    try:
        await _serve(settings, guide.show)
    except StateDirLockedError as error:
        await guide.show_running(error.pid, str(settings.listen))
    finally:
        guide.tell_end()


def _check(settings: Settings) -> None:
    """Say what the daemon would run with.

    Raises:
        StateDirError: the state directory cannot be used.
        SettingsInvalidError: what a setting names is missing.
    """
    prepare_state_dir(settings.state_dir)
    with StateDirLock(settings.state_dir):
        for setting in Settings.model_fields:
            print(f"{setting}: {getattr(settings, setting)}")  # noqa: T201 - the command's output
        for device in find_devices(host_memory_bytes=settings.host_memory_bytes):
            free = device.capacity_bytes - device.reserve_bytes
            print(f"device {device.device_id}: {device.name}, {device.capacity_bytes} bytes, {free} for models")  # noqa: T201 - as above
        for line in _engine_lines(find_kinds(settings)):
            print(line)  # noqa: T201 - as above
        if settings.gateway_listen is not None:
            print(f"gateway: Envoy {find_gateway(settings).version} at {settings.gateway_listen}")  # noqa: T201 - as above
            if find_certificate(settings, wall_clock(settings)) is not None:
                print(f"gateway: TLS with the certificate in {settings.gateway_tls_dir}")  # noqa: T201 - as above
        if not settings.model_roots:
            print("warning: no --model-root, so nothing can be loaded")  # noqa: T201 - as above


def _engine_lines(kinds: tuple[EngineKind, ...]) -> list[str]:
    """Say which engines can be started, and what to install for others."""
    lines = [f"engine {kind.name}: {kind.version({})}" for kind in kinds if kind.is_configured]
    lines += [f"engine {kind.name}: none, {kind.absence}" for kind in kinds if kind.missing]
    if not any(kind.is_configured for kind in kinds):
        lines.append("warning: no engine can be started here, so nothing can be loaded")
    return lines


async def _stop_engines(settings: Settings) -> None:
    """End every engine of a state directory whose daemon is not running."""
    prepare_state_dir(settings.state_dir)
    with StateDirLock(settings.state_dir):
        clocks = Clocks(time.time, time.monotonic)
        options = EngineProcessOptions(settings.state_dir, standby_count=0)
        sinks = EngineSinks(lambda _event: None, WorkerTotals(), AdapterFaults(lambda _event: None, time.time).report)
        engines = EngineProcesses(options, sinks, clocks, new_id)
        await engines.adopt()
        count = await engines.sweep(frozenset())
        await engines.close()
        for alarm in engines.alarms:
            print(alarm)  # noqa: T201 - the command's output
        print(f"{count} engines ended")  # noqa: T201 - the command's output
        if await stop_gateway(settings.state_dir):
            print("the gateway ended")  # noqa: T201 - as above


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code: 0 done, 1 it failed, 2 settings are wrong."""
    settle_heap(os.environ)
    command, options = parse(arguments)
    if command == PKI:
        return _pki(options)
    model_path = str(options.pop("model_path", ""))
    try:
        prepared = prepare(options, model_path) if command == "up" else None
        settings = load_settings(options if prepared is None else prepared.flags)
    except SettingsInvalidError as error:
        return _say(2, *(f"{v.field}: {v.description}" for v in error.failure.violations))
    configure_logging(settings.log_level)
    for old, new in old_names_given(options).items():
        log.warning("setting.renamed", given=old, give_instead=new)
    try:
        match command:
            case "up" if prepared is not None:
                guide = Guide(
                    settings.state_dir, prepared, began_s=_process_began_s(), tls_dir=settings.gateway_tls_dir
                )
                asyncio.run(_up(settings, guide))
            case "serve":
                asyncio.run(_serve(settings))
            case "check":
                _check(settings)
            case _:
                asyncio.run(_stop_engines(settings))
    except SettingsInvalidError as error:
        return _say(2, str(error))
    except KeyboardInterrupt:  # before it serves, which is when it begins to take signals
        return _say(1, "interrupted")
    except (ListenError, AddressTakenError, UnownedEnginesError, UpError, CoreFaultError, DaemonError) as error:
        return _say(1, str(error))
    return 0


def _process_began_s() -> float:
    """Return when this process began, by the monotonic clock.

    Imports are part of what people wait for.
    """
    return time.monotonic() - max(0.0, time.time() - psutil.Process().create_time())


def _pki(options: Mapping[str, object]) -> int:
    try:
        # Only here: who needs no certificate needs no package for them.
        from echoplaned.security.pki_commands import run_pki  # noqa: PLC0415
    except ModuleNotFoundError:
        return _say(1, TLS_ADVICE)
    try:
        for line in run_pki(options, time.time()):
            print(line)  # noqa: T201 - the command's output
    except (PkiError, OSError) as error:
        return _say(1, str(error))
    return 0


def _say(code: int, *lines: str) -> int:
    for line in lines:
        print(f"echoplaned: {line}", file=sys.stderr)  # noqa: T201 - the command's errors
    return code


if __name__ == "__main__":
    sys.exit(main())
