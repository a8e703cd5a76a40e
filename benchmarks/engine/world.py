"""A real daemon whose chat model is on llama-server, and looks at the processes of that engine."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from benchmarks.door.blame import as_mixed
from benchmarks.door.world import LOAD_S, START_S
from benchmarks.peers.door_mixed import Mixed
from benchmarks.quickstart import ENGINE
from benchmarks.world import hear, peer, say, wait_until
from echoplane import Client
from echoplane.v1 import models_pb2
from echoplaned.core.endpoints import EndpointProtocol
from echoplaned.testing.daemon import DaemonProcess
from echoplaned.testing.loadgen import LoadProcesses
from echoplaned.worker_contract.family import find_marked
from echoplaned.worker_contract.mark import read_state_dir_id
from echoplaned.worker_contract.record import WorkerRecord, read_records, records_dir

CHAT: Final = "chat"
CONTEXT: Final = 256
SLOTS: Final = 4
LONG_SHARE: Final = 0.2
FIRST_ANSWERS_S: Final = 120.0
_NATIVE_TOKENS: Final = 2
_KINDS: Final = 3
_TAIL: Final = 12_000


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine that serves: its leader, and where it listens. ``socket``: for OpenAI's API; ``translated``: HOST:PORT for OIP."""

    leader: psutil.Process
    socket: str
    translated: str

    @property
    def server(self) -> psutil.Process:
        """The engine itself."""
        (found,) = self.leader.children()
        return found


@contextlib.contextmanager
def llama_daemon(folder: Path, root: Path, *flags: str) -> Iterator[DaemonProcess]:
    """Run a daemon that knows llama-server until the block's end, with a state that starts empty."""
    daemon = DaemonProcess(folder / "state", (root,), ("--engine", f"{ENGINE}={sys.prefix}", *flags))
    try:
        daemon.start(START_S)
        yield daemon
    except BaseException as error:
        error.add_note(f"the daemon's last lines:\n{daemon.tail(_TAIL)}")
        raise
    finally:
        daemon.clean()


def load(daemon: DaemonProcess, source: Path, version: str = "v0") -> None:
    """Load the chat model's first version."""
    request = models_pb2.LoadModelRequest(
        model_id=CHAT, version_id=version, source_uri=f"file:{source}", engine=ENGINE, context_length=CONTEXT,
        max_concurrency=SLOTS,
    )  # fmt: skip
    with Client(daemon.address) as client:
        client.wait(client.load_model(request), LOAD_S)


def records(daemon: DaemonProcess) -> list[WorkerRecord]:
    """Return the records of the chat model's leaders."""
    return [one for one in read_records(daemon.state_dir) if one.instance.startswith(f"{CHAT}/")]


def engine(daemon: DaemonProcess) -> Engine:
    """Return the one engine of the chat model."""
    (record,) = records(daemon)
    targets = {one.protocol: one.target for one in record.endpoints}
    socket = targets[EndpointProtocol.OPENAI_HTTP].removeprefix("unix:")
    return Engine(psutil.Process(record.pid), socket, targets[EndpointProtocol.OIP_GRPC])


@dataclass(frozen=True, slots=True)
class Callers:
    """Callers of the chat model. ``native``: over xDS; ``streams``: chats and OIP through the gateway, which write into ``output``."""

    native: LoadProcesses
    streams: subprocess.Popen[str]
    output: Path

    def stop(self) -> None:
        """Begin nothing more, and wait for what is under way."""
        say(self.streams, "stop")
        hear(self.streams)
        self.native.stop()

    def requests(self) -> list[Mixed]:
        """Return every request so far."""
        whole = self.output.read_text(encoding="utf-8").rpartition("\n")[0]
        return [*map(Mixed.read, whole.splitlines()), *as_mixed(self.native.samples(), CHAT)]


@contextlib.contextmanager
def called(daemon: DaemonProcess, gateway: str, rate: float) -> Iterator[Callers]:
    """Have so many requests a second of each kind; every kind has been answered by the block's begin. A fifth of them are long."""
    folder = daemon.state_dir.parent
    with ExitStack() as stack:
        native = LoadProcesses(daemon.address, CHAT, folder)
        stack.callback(native.stop)
        native.start(1, rate, LONG_SHARE, _NATIVE_TOKENS)
        output = folder / "streams.tsv"
        options = ("--rate", str(rate), "--chat-long-share", str(LONG_SHARE))
        streams = stack.enter_context(peer("door_mixed", gateway, CHAT, "", str(output), *options))
        hear(streams)
        callers = Callers(native, streams, output)
        wait_until(lambda: len({one.kind for one in callers.requests()}) == _KINDS, FIRST_ANSWERS_S, "no answers")
        yield callers


def processes_left(daemon: DaemonProcess) -> int:
    """Return how many processes carry a mark of the daemon's state directory."""
    return len(find_marked(read_state_dir_id(records_dir(daemon.state_dir))))


def segments() -> set[str]:
    """Return the names of what lies in shared memory but Envoys', which are no engines."""
    folder = Path("/dev/shm")  # noqa: S108 - of every process: shm_overview(7)
    return {path.name for path in folder.iterdir() if not path.name.startswith("envoy")}
