"""The real daemon as a process, for tests, benchmarks and the demo."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import psutil
from grpc_health.v1 import health_pb2, health_pb2_grpc

from echoplane.channels import DIRECT_OPTIONS
from echoplaned.worker_contract.family import Family, end_family
from echoplaned.worker_contract.record import read_start_ticks

_END_S = 10.0
_LEADERS = {"echoplaned.worker", "echoplaned.supervisor"}


def free_port() -> int:
    """Return a loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(slots=True)
class DaemonProcess:
    """``echoplaned serve`` with a state directory, as a process.

    It may be killed and started again on the same port. stdout and stderr go to ``daemon.log`` beside the state.

    Attributes:
        state_dir: its state directory, made when it starts.
        model_roots: directories that it may load models from.
        extra: more arguments.
        port: TCP port of the API on 127.0.0.1.
        wrapper: a command that starts it, such as ``setpriv ...``; empty: none.
        python: interpreter; that of another environment runs another release.
        process: the process that was started last, also when it has ended; None: none was.
    """

    state_dir: Path
    model_roots: tuple[Path, ...]
    extra: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    wrapper: tuple[str, ...] = ()
    python: str = sys.executable
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """HOST:PORT of the API."""
        return f"127.0.0.1:{self.port}"

    @property
    def log_path(self) -> Path:
        """Where the daemon writes."""
        return self.state_dir.parent / "daemon.log"

    def start(self, timeout_s: float = 120.0) -> float:
        """Start it and wait until it serves; return the seconds that took.

        Raises:
            RuntimeError: it ended, or did not serve in time; the message has its last lines.
        """
        self.state_dir.mkdir(parents=True, exist_ok=True)
        command = [
            *self.wrapper,
            self.python,
            "-m",
            "echoplaned",
            "serve",
            "--listen",
            self.address,
            "--state-dir",
            str(self.state_dir),
        ]
        for root in self.model_roots:
            command += ["--model-root", str(root)]
        began = time.monotonic()
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen([*command, *self.extra], stdout=log, stderr=log, start_new_session=True)
        while time.monotonic() - began < timeout_s:
            if self.process.poll() is not None:
                raise RuntimeError(f"the daemon ended with {self.process.returncode}: {self.tail()}")
            if self._serving():
                return time.monotonic() - began
            time.sleep(0.05)
        raise RuntimeError(f"the daemon did not serve within {timeout_s} s: {self.tail()}")

    def _serving(self) -> bool:
        with grpc.insecure_channel(self.address, DIRECT_OPTIONS) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            try:
                answer = stub.Check(health_pb2.HealthCheckRequest(service=""), timeout=1.0)
            except grpc.RpcError:
                return False
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    def kill(self) -> None:
        """End it as a crash would: SIGKILL, the daemon alone; its engines go on."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self, timeout_s: float = 30.0) -> int:
        """Ask it to end; return its exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def tail(self, characters: int = 3000) -> str:
        """Return the end of its log."""
        return (
            self.log_path.read_text(encoding="utf-8", errors="replace")[-characters:] if self.log_path.exists() else ""
        )

    def engines(self) -> list[psutil.Process]:
        """Return the leader of every engine of this state directory."""
        return [
            process for process, words in _command_lines() if _LEADERS & set(words) and str(self.state_dir) in words
        ]

    def gateways(self) -> list[psutil.Process]:
        """Return every Envoy of this state directory."""
        folder = f"{self.state_dir}/gateway/"
        return [process for process, words in _command_lines() if any(word.startswith(folder) for word in words)]

    def clean(self) -> None:
        """End it and everything that it left: a test leaves no process behind."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for each in self.engines():
            # As the daemon ends them: what they share goes with them.
            end_family(Family(each.pid, read_start_ticks(each.pid) or 0), _END_S)
        for each in self.gateways():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(each.pid, signal.SIGKILL)


def _command_lines() -> Iterator[tuple[psutil.Process, list[str]]]:
    for process in psutil.process_iter():
        try:
            yield process, process.cmdline()
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
