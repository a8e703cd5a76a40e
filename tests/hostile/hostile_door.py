"""A daemon with its gateway that a whole file of hostile tests shares, and raw ways to ask it."""

from __future__ import annotations

import contextlib
import json
import shlex
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echoplane import Client
from echoplane.v1 import keys_pb2, models_pb2
from echoplaned.testing import checkpoints
from echoplaned.testing.daemon import DaemonProcess, free_port
from tests.e2e import e2e_system as e
from tests.gateway.gateway_stage import CHAT, Answer, ask

CHATTING = "chat"
EMBEDDING = "embed"
PACED = "paced"
PACED_ENGINE = Path(__file__).with_name("paced_engine.py")
EMBEDDINGS = "/v1/embeddings"
HELLO: Any = [{"role": "user", "content": "Hello"}]


@dataclass(frozen=True, slots=True)
class DoorTarget:
    """A gateway that is attacked.

    Attributes:
        daemon: the daemon behind it.
        listening: its address.
    """

    daemon: DaemonProcess
    listening: str

    def make_key(self) -> str:
        """Make an operator's key on the daemon's own socket."""
        with Client(f"unix:{self.daemon.state_dir}/api.sock") as client:
            return client.create_key(keys_pb2.CreateKeyRequest(role=keys_pb2.ROLE_OPERATOR)).secret

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        """Ask on a connection of its own; underscores in a header's name are dashes."""
        return ask(self.listening, method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})

    def chat(self, model: str = PACED, **more: Any) -> Answer:
        """Ask for two tokens."""
        return self.ask("POST", CHAT, {"model": model, "max_tokens": 2, "messages": HELLO, **more})

    def connect(self, timeout_s: float = 30.0) -> socket.socket:
        """Open a connection and send nothing."""
        host, _, port = self.listening.rpartition(":")
        return socket.create_connection((host, int(port)), timeout=timeout_s)

    def send(self, content: bytes, timeout_s: float = 30.0) -> bytes:
        """Send bytes as they are; return all that comes until the other side closes, or nothing more comes."""
        with contextlib.closing(self.connect(timeout_s)) as connection:
            connection.sendall(content)
            return read_all(connection)

    def seconds_to_answer(self) -> float:
        """Return how long an honest call takes."""
        began = time.monotonic()
        assert self.chat().status == 200
        return time.monotonic() - began


def read_all(connection: socket.socket) -> bytes:
    """Read until the other side closes, resets, or is silent for the connection's timeout."""
    found = b""
    with contextlib.suppress(ConnectionError, TimeoutError):
        while piece := connection.recv(65536):
            found += piece
    return found


def request(path: str, body: bytes, *headers: str) -> bytes:
    """Write a POST as bytes, after which the connection is closed."""
    lines = [f"POST {path} HTTP/1.1", "host: door", "connection: close", f"content-length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chat_body(**changes: Any) -> bytes:
    """Write the body of a chat of two tokens."""
    return json.dumps({"model": PACED, "max_tokens": 2, "messages": HELLO, **changes}).encode()


@contextlib.contextmanager
def door_target(*flags: str) -> Iterator[DoorTarget]:
    """Run a daemon with a gateway and nothing loaded; the paths of its sockets must be short."""
    listening = f"127.0.0.1:{free_port()}"
    gateway = ("--gateway-listen", listening, "--gateway-concurrency", "1")
    with tempfile.TemporaryDirectory(prefix="ep-") as folder:
        root = Path(folder).resolve()
        (root / "paced").mkdir()
        checkpoints.add_chat_template(checkpoints.make_decoder(root / "models" / "plain"), root / "models" / "chatting")
        checkpoints.make_encoder(root / "models" / "encoder")
        program = shlex.join([sys.executable, "-S", str(PACED_ENGINE), str(root / "paced")])
        line = f"{program} {{name}} {{port}} {{context_length}} {{model}}"
        engine = ("--engine", f"command={line}", "--standby-workers", "0")
        daemon = DaemonProcess(root / "state", (root / "models",), (*engine, *gateway, *flags))
        try:
            daemon.start(300.0)
            target = DoorTarget(daemon, listening)
            e.eventually(lambda: healthy(target), 60.0, "the gateway's first answer")
            yield target
        finally:
            daemon.clean()


def load(target: DoorTarget, *requests: models_pb2.LoadModelRequest) -> None:
    """Load versions, and wait until each answers through the gateway."""
    with Client(target.daemon.address) as client:
        for operation in [client.load_model(each) for each in requests]:
            client.wait(operation, e.LOAD_S)
    for each in requests:
        path, asked = (CHAT, {"messages": HELLO}) if each.model_id != EMBEDDING else (EMBEDDINGS, {"input": "one"})
        body = {"model": each.model_id, **asked}

        def answers(path: str = path, body: dict[str, Any] = body) -> bool:
            with contextlib.suppress(OSError):
                return target.ask("POST", path, body).status == 200
            return False

        e.eventually(answers, 60.0, f"an answer of {each.model_id} through the gateway")


def chatting() -> models_pb2.LoadModelRequest:
    """Return what loads a small model that chats, on the embedded engine."""
    return models_pb2.LoadModelRequest(
        model_id=CHATTING, version_id="v1", source_uri="file:chatting", context_length=64
    )


def embedding() -> models_pb2.LoadModelRequest:
    """Return what loads a small model that embeds, on the embedded engine."""
    return models_pb2.LoadModelRequest(model_id=EMBEDDING, version_id="v1", source_uri="file:encoder")


def paced(version: str = "v1", context: int = 256) -> dict[str, Any]:
    """Return what loads, or updates to, a version of the engine that speaks at a set pace; the context names it there."""
    shape = {"engine": "command", "context_length": context, "max_concurrency": 8}
    options = {"memory_bytes": str(64 << 20), "health_route": "/health"}
    return {"model_id": PACED, "version_id": version, "source_uri": "file:plain", "engine_options": options, **shape}


def counts(target: DoorTarget, context: int = 256) -> dict[str, int]:
    """Return what a paced engine counted."""
    found: dict[str, int] = json.loads(paced_folder(target).joinpath(f"{context}.json").read_text())
    return found


def counts_at_rest(target: DoorTarget) -> dict[str, int]:
    """Return the same once nothing runs; an engine tells of a call's end just after its answer, in a write of its own."""
    e.eventually(lambda: counts(target)["running"] == 0, 10.0, "an engine without calls")
    return counts(target)


def paced_folder(target: DoorTarget) -> Path:
    """Return where paced engines write, and look for what they shall do."""
    return target.daemon.state_dir.parent / "paced"


def healthy(target: DoorTarget) -> bool:
    """Whether the daemon answers through its gateway."""
    with contextlib.suppress(OSError):
        return target.ask("GET", "/health").status == 200
    return False


def answers(target: DoorTarget, model: str = PACED) -> bool:
    """Whether a model answers through the gateway."""
    with contextlib.suppress(OSError):
        return target.chat(model).status == 200
    return False
