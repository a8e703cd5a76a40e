"""A daemon whose gateway speaks TLS, and callers that never pause, for tests."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import grpc

from echoplane import Client
from echoplane.channels import DIRECT_OPTIONS
from echoplane.inference import grpc_service_pb2 as oip
from echoplane.inference import grpc_service_pb2_grpc as oip_grpc
from echoplane.v1 import diagnostics_pb2
from echoplaned.security.pki_files import PkiDirectory
from echoplaned.testing.daemon import DaemonProcess
from tests.gateway.gateway_stage import CHAT, Answer
from tests.gateway.tls_parts import ask_tls, shown_serial

MODEL = "chat"
MODELS = "/v1/models"
EVENTS = "/api/v1/model_serving/events"
HELLO = {"model": MODEL, "max_tokens": 2, "temperature": 0, "messages": [{"role": "user", "content": "Hello"}]}


@dataclass(frozen=True, slots=True)
class TlsSystem:
    """A running daemon whose gateway speaks TLS.

    Attributes:
        daemon: the daemon.
        port: the gateway's port.
        pki: the CA, and the gateway's certificate ``door``.
        context: of a caller that trusts that CA alone.
    """

    daemon: DaemonProcess
    port: int
    pki: PkiDirectory
    context: ssl.SSLContext

    @property
    def listening(self) -> str:
        """The gateway's address."""
        return f"127.0.0.1:{self.port}"

    @property
    def folder(self) -> Path:
        """The directory of its certificate."""
        return self.pki.folder / "door"

    def ask(self, method: str, path: str, body: object = None) -> Answer:
        """Ask on a connection of its own."""
        content = None if body is None else json.dumps(body).encode()
        return ask_tls(self.listening, self.context, method, path, content)

    def infer(self) -> str:
        """Ask by gRPC; return the version that answered."""
        trusted = (self.pki.folder / "ca" / "cert.pem").read_bytes()
        with grpc.secure_channel(
            f"localhost:{self.port}", grpc.ssl_channel_credentials(trusted), DIRECT_OPTIONS
        ) as channel:
            request = oip.ModelInferRequest(model_name=MODEL)
            tensor = request.inputs.add(name="text", datatype="BYTES", shape=[1])
            tensor.contents.bytes_contents.append(b"Once upon a time")
            request.parameters["max_tokens"].int64_param = 2
            _, call = oip_grpc.GRPCInferenceServiceStub(channel).ModelInfer.with_call(request, timeout=60)
            return str(dict(call.initial_metadata())["x-model-version"])

    def shown(self) -> int:
        """Return the serial that a new connection is shown."""
        return shown_serial(self.listening, self.context)

    def status(self) -> diagnostics_pb2.GetStatusResponse:
        """Return what the daemon says of itself."""
        with Client(self.daemon.address) as client:
            return client.get_status()

    def alarm(self) -> str:
        """Return what the daemon says of the certificate; empty: nothing."""
        return " ".join(each for each in self.status().alarms if "certificate" in each)


class TlsCallers:
    """Callers of the gateway that never pause: new connections, one that stays, streams of tokens, and one stream that stays open."""

    def __init__(self, door: TlsSystem) -> None:
        self._door = door
        self._stop = threading.Event()
        self.counts = {"new": 0, "kept": 0, "streamed": 0}
        self.failures: list[str] = []
        self.stream_bytes = 0
        jobs = (self._new, self._kept, self._streamed, self._open_stream)
        self._threads = [threading.Thread(target=self._guarded, args=(job,), daemon=True) for job in jobs]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _guarded(self, job: Callable[[], None]) -> None:
        try:
            job()
        except Exception as error:  # noqa: BLE001 - whatever it is, the test says it
            self.failures.append(f"{job.__name__}: {type(error).__name__}: {error}")

    def _count(self, kind: str, status: int, body: bytes) -> None:
        self.counts[kind] += 1
        if status != 200:
            self.failures.append(f"{kind}: {status} {body[:200]!r}")

    def _new(self) -> None:
        while not self._stop.is_set():
            answer = self._door.ask("GET", MODELS)
            self._count("new", answer.status, answer.body)

    def _kept(self) -> None:
        with contextlib.closing(self._connect()) as connection:
            opened = connection.sock
            while not self._stop.is_set():
                connection.request("GET", MODELS)
                answer = connection.getresponse()
                self._count("kept", answer.status, answer.read())
                assert connection.sock is opened, "the connection was closed in between"

    def _streamed(self) -> None:
        while not self._stop.is_set():
            answer = self._door.ask("POST", CHAT, {**HELLO, "max_tokens": 20, "stream": True})
            self._count("streamed", answer.status, answer.body)
            assert answer.body.endswith(b"data: [DONE]\n\n"), answer.body[-200:]

    def _open_stream(self) -> None:
        with contextlib.closing(self._connect()) as connection:
            connection.request("GET", EVENTS)
            answer = connection.getresponse()
            while not self._stop.is_set():
                line = answer.readline()
                assert line, "the stream was cut"
                self.stream_bytes += len(line)

    def _connect(self) -> http.client.HTTPSConnection:
        connection = http.client.HTTPSConnection(self._door.listening, timeout=60.0, context=self._door.context)
        connection.connect()
        return connection
