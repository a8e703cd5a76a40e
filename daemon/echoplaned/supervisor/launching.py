"""From an order to an engine's command line, environment and address."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pynvml

from echoplaned.engine_kinds import EngineKind
from echoplaned.engine_kinds.foreign import (
    MAX_SOCKET_PATH_BYTES,
    Build,
    ForeignEngine,
    Launch,
    Listen,
    passed_environment,
)
from echoplaned.setting_paths import home_directory
from echoplaned.supervisor.http import EngineAddress
from echoplaned.worker_contract.order import LoadFailedError, LoadOrder

_GPU: Final = "cuda:"
_WHOLE_PPM: Final = 1_000_000
_PORTS: Final = (20_000, 32_000)
"""Below the range that the kernel picks from (32768 by default): nobody gets a port by chance between our look and the engine's."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is about to be started.

    Attributes:
        command: command line of the engine.
        environment: whole environment of the engine but the mark.
        address: address that it will listen on.
        launch: what command and environment were made from.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str]
    address: EngineAddress
    launch: Launch


@dataclass(frozen=True, slots=True)
class Places:
    """Paths of one instance.

    Attributes:
        model: path of the checkpoint as it was opened and compared.
        socket: path of the unix socket that the engine may listen on.
        scratch: directory of the instance's own.
    """

    model: Path
    socket: Path
    scratch: Path


def prepare(order: LoadOrder, kind: EngineKind, build: Build, places: Places) -> Prepared:
    """Make an engine's command line.

    Raises:
        LoadFailedError: the engine cannot serve the order, or cannot listen.
        ValueError: an option is unknown or out of range.
    """
    engine = engine_of(kind)
    options = kind.read_options(order.engine_options)
    if order.task not in kind.tasks:
        tasks = ", ".join(sorted(task.value for task in kind.tasks))
        raise LoadFailedError(f"engine {kind.name} serves {tasks}, not {order.task.value}")
    if not places.model.exists():
        raise LoadFailedError(f"{order.source_path} does not exist")
    address = _address(engine, build, places.socket)
    places.scratch.mkdir(mode=0o700, exist_ok=True)
    version = order.instance.version
    launch = Launch(
        build=build,
        model=places.model,
        served_names=(version.model, f"{version.model}/{version.version}"),
        task=order.task,
        dtype=order.dtype,
        context_length=order.context_length,
        max_concurrency=order.max_concurrency,
        device_ids=order.device_ids,
        options=options,
        socket=address.socket,
        port=address.port,
        kv_cache_bytes=order.kv_cache_bytes,
        memory_share_ppm=_memory_share_ppm(order),
        cache_dir=_cache_home(places) / "echoplane" / kind.name,
        scratch_dir=places.scratch,
    )
    environment = {**passed_environment(os.environ), **engine.variables(launch)}
    return Prepared(engine.arguments(launch), environment, address, launch)


def _cache_home(places: Places) -> Path:
    """Return where caches of engines lie that outlive an instance.

    Without a home directory they end with it.
    """
    given, home = os.environ.get("XDG_CACHE_HOME"), home_directory()
    if given:
        return Path(given)
    return home / ".cache" if home is not None else places.scratch / "cache"


def _memory_share_ppm(order: LoadOrder) -> int:
    """Return the share of each device's memory that the plan reserves, in millionths.

    The whole is what NVML tells of the smallest; 0: it is no GPU, or not known. An engine takes one share for all its ranks.

    Rounded up: an engine that is told a share looks whether as much is free, and what it is told of the cache it takes as it is.
    """
    if not order.device_id.startswith(_GPU) or not order.reserved_bytes:
        return 0
    try:
        pynvml.nvmlInit()
        try:
            handles = [pynvml.nvmlDeviceGetHandleByIndex(int(each.removeprefix(_GPU))) for each in order.device_ids]
            total_bytes = min(int(pynvml.nvmlDeviceGetMemoryInfo(handle).total) for handle in handles)
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return 0
    return min(_WHOLE_PPM, -(-order.reserved_bytes * _WHOLE_PPM // total_bytes))


def engine_of(kind: EngineKind) -> ForeignEngine:
    """Return how a foreign kind is handled.

    Raises:
        ValueError: the kind leads itself.
    """
    if kind.foreign is None:
        raise ValueError(f"engine {kind.name} leads itself")
    return kind.foreign


def _address(engine: ForeignEngine, build: Build, socket_path: Path) -> EngineAddress:
    if (build.listens or engine.listens) is Listen.TCP:
        return EngineAddress(port=_free_port())
    size = len(os.fsencode(socket_path))
    if size > MAX_SOCKET_PATH_BYTES:
        raise LoadFailedError(
            f"the engine's socket {socket_path} has a path of {size} bytes, and {MAX_SOCKET_PATH_BYTES} are possible: "
            "give the daemon a --state-dir with a shorter path"
        )
    socket_path.unlink(missing_ok=True)  # an engine that was killed leaves it
    return EngineAddress(socket=str(socket_path))


def _free_port() -> int:
    """Return a port that nobody listens on now.

    Whoever takes it before the engine does makes the start fail, and another be tried.
    """
    low, high = _PORTS
    first = low + int.from_bytes(os.urandom(2), "little") % (high - low)
    for port in (*range(first, high), *range(low, first)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(port)
    raise LoadFailedError(f"every port from {low} to {high} is taken", retryable=True)
