"""A real daemon with its gateway, behind which the benchmark's own server is an engine like any other."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final

import psutil

from benchmarks.peers import door_backend, door_load
from benchmarks.world import wait_until
from echoplane import Client
from echoplane.v1 import models_pb2
from echoplaned.core.endpoints import EndpointProtocol
from echoplaned.testing.checkpoints import make_decoder
from echoplaned.testing.daemon import DaemonProcess, free_port
from echoplaned.worker_contract.record import read_records

MODEL: Final = "m"
START_S: Final = 300.0
LOAD_S: Final = 300.0
ANSWER_S: Final = 60.0
_MEMORY_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Door:
    """A running daemon with its gateway and the benchmark's server as the engine of the model ``m``.

    ``listening``: the gateway's address. ``backend``: that of the server itself.
    """

    daemon: DaemonProcess
    listening: str
    backend: str

    def envoy(self) -> psutil.Process:
        """Return the one Envoy that serves."""
        (found,) = self.daemon.gateways()
        return found


def gateway_flags(listening: str, *more: str) -> tuple[str, ...]:
    """Return what a daemon with a gateway is started with."""
    return ("--gateway-listen", listening, "--gateway-concurrency", "1", "--standby-workers", "0", *more)


def engine_line(interval_s: float) -> str:
    """Return the command line of the server as an engine, for ``--engine``."""
    script = shlex.quote(str(Path(door_backend.__file__).resolve()))
    line = f"{shlex.quote(sys.executable)} -I -S {script} --port {{port}} --model {{model}} --interval {interval_s:g}"
    return f"command={line}"


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """Yield a folder whose path is short enough for sockets beneath it."""
    with tempfile.TemporaryDirectory(prefix="ep-", ignore_cleanup_errors=True) as folder:
        yield Path(folder).resolve()


@contextlib.contextmanager
def front_door(*flags: str, interval_s: float = 0.1) -> Iterator[Door]:
    """Run it until the block's end; the model answers through the gateway by then."""
    with short_folder() as folder:
        make_decoder(folder / "models" / MODEL)
        listening = f"127.0.0.1:{free_port()}"
        engine = ("--engine", engine_line(interval_s))
        daemon = DaemonProcess(folder / "state", (folder / "models",), gateway_flags(listening, *engine, *flags))
        try:
            daemon.start(START_S)
            load_backend(daemon)
            wait_until(lambda: answers(listening), ANSWER_S, "the model did not answer through the gateway")
            yield Door(daemon, listening, backend_address(daemon))
        except BaseException as error:
            error.add_note(f"the daemon's last lines:\n{daemon.tail()}")
            raise
        finally:
            daemon.clean()


def load_backend(daemon: DaemonProcess) -> None:
    """Load the model on the benchmark's server."""
    request = models_pb2.LoadModelRequest(
        model_id=MODEL, version_id="v1", source_uri=f"file:{MODEL}", engine="command", context_length=64,
        max_concurrency=64, engine_options={"memory_bytes": str(_MEMORY_BYTES)},
    )  # fmt: skip
    with Client(daemon.address) as client:
        client.wait(client.load_model(request), LOAD_S)


def backend_address(daemon: DaemonProcess) -> str:
    """Return where the benchmark's server listens, by its leader's record."""
    endpoints = [one for record in read_records(daemon.state_dir) for one in record.endpoints]
    return next(one.target for one in endpoints if one.protocol is EndpointProtocol.OPENAI_HTTP)


def answers(address: str, timeout_s: float = 5.0) -> bool:
    """Whether a chat is answered well, on a connection of its own."""
    body = door_load.request(address, MODEL).partition(b"\r\n\r\n")[2]
    try:
        with contextlib.closing(HTTPConnection(address, timeout=timeout_s)) as connection:
            connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
            return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False


def cpu_s(process: psutil.Process) -> float:
    """Return the CPU seconds of a process and of those below it, to the nanosecond: the kernel's ticks are 10 ms."""
    total_ns = 0
    for each in (process, *process.children(recursive=True)):
        for thread in Path(f"/proc/{each.pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):  # it ended
                total_ns += int(thread.read_text(encoding="utf-8").split()[0])
    return total_ns / 1e9


def memory_mib(process: psutil.Process) -> tuple[float, float]:
    """Return a process' resident and proportional memory in MiB."""
    facts = process.memory_full_info()
    return facts.rss / 2**20, facts.pss / 2**20


def end(process: subprocess.Popen[bytes], timeout_s: float = 10.0) -> None:
    """End a process that was started here."""
    process.terminate()
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def pause(seconds: float) -> None:
    """Let the processes go on for a while."""
    time.sleep(seconds)
