"""Calls with and without a key, in every protocol of the gateway, and what came of them in one word."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import grpc

from echoplane import Client
from echoplane.channels import DIRECT_OPTIONS
from echoplane.inference import grpc_service_pb2 as oip
from echoplane.inference import grpc_service_pb2_grpc as oip_grpc
from echoplane.v1 import keys_pb2, models_pb2, models_pb2_grpc
from echoplaned.testing.daemon import DaemonProcess
from tests.gateway.gateway_stage import Answer, ask

API = "/api/v1/model_serving"


class Outcome(StrEnum):
    """What came of a call."""

    OK = "ok"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    LIMITED = "limited"
    MISSING = "missing"


_BY_STATUS = {401: Outcome.UNAUTHENTICATED, 403: Outcome.FORBIDDEN, 429: Outcome.LIMITED, 404: Outcome.MISSING}
_BY_CODE = {
    grpc.StatusCode.UNAUTHENTICATED: Outcome.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED: Outcome.FORBIDDEN,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Outcome.LIMITED,
    grpc.StatusCode.NOT_FOUND: Outcome.MISSING,
}


@dataclass(frozen=True, slots=True)
class KeyedDoor:
    """A daemon with its gateway, and ways to call it with a key.

    Attributes:
        daemon: the daemon.
        listening: the gateway's address.
    """

    daemon: DaemonProcess
    listening: str

    @property
    def socket(self) -> str:
        """The daemon's own socket, as gRPC dials it."""
        return f"unix:{self.daemon.state_dir}/api.sock"

    def command(self, *arguments: str) -> str:
        """Run `echoplane key ...` as its user does; return what it prints."""
        words = [
            sys.executable,
            "-c",
            "from echoplane.cli import main; main()",
            "key",
            *arguments,
            "--state-dir",
            str(self.daemon.state_dir),
        ]
        return subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout.strip()

    def make(self, role: str = "client", *models: str, **more: Any) -> str:
        """Make a key."""
        request = keys_pb2.CreateKeyRequest(role=f"ROLE_{role.upper()}", models=models, **more)
        with Client(self.socket) as client:
            return client.create_key(request).secret

    def revoke(self, key: str) -> None:
        """Revoke a key."""
        with Client(self.socket) as client:
            client.revoke_key(id_of(key))

    def http(self, method: str, path: str, key: str = "", body: object = None, **headers: str) -> Answer:
        """Call by HTTP; a key goes where OpenAI's clients put it."""
        sent = {"authorization": f"Bearer {key}"} if key else {}
        return ask(self.listening, method, path, body, sent | headers)

    def chat(self, model: str, key: str = "", **headers: str) -> Answer:
        """Ask for one token as OpenAI's clients do."""
        body = {"model": model, "max_tokens": 1, "temperature": 0, "messages": [{"role": "user", "content": "Hello"}]}
        return self.http("POST", "/v1/chat/completions", key, body, **headers)

    @contextlib.contextmanager
    def stream(self, path: str, key: str, body: object) -> Iterator[Iterator[str]]:
        """Post by HTTP; yield the answer's lines as they come."""
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        with contextlib.closing(HTTPConnection(self.listening, timeout=60.0)) as connection:
            connection.request("POST", path, json.dumps(body), headers)
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            yield (line.decode().rstrip("\n") for line in iter(answer.readline, b""))

    def message(self, model: str, key: str = "") -> Answer:
        """Ask for one token as Anthropic's clients do."""
        body = {"model": model, "max_tokens": 1, "messages": [{"role": "user", "content": "Hello"}]}
        return ask(self.listening, "POST", "/v1/messages", body, {"x-api-key": key} if key else {})

    def infer(self, model: str, key: str = "") -> tuple[Outcome, str]:
        """Ask for one token by OIP over gRPC."""
        request = oip.ModelInferRequest(model_name=model)
        tensor = request.inputs.add(name="text", datatype="BYTES", shape=[1])
        tensor.contents.bytes_contents.append(b"Once upon a time")
        request.parameters["max_tokens"].int64_param = 1
        return self._grpc(lambda channel: oip_grpc.GRPCInferenceServiceStub(channel).ModelInfer, request, key)

    def native(self, key: str = "") -> tuple[Outcome, str]:
        """Call the control API over gRPC through the gateway."""
        request = models_pb2.ListModelsRequest()
        return self._grpc(lambda channel: models_pb2_grpc.ModelServiceStub(channel).ListModels, request, key)

    def _grpc(self, method: Any, request: Any, key: str) -> tuple[Outcome, str]:
        metadata = (("authorization", f"Bearer {key}"),) if key else ()
        with grpc.insecure_channel(self.listening, DIRECT_OPTIONS) as channel:
            try:
                method(channel)(request, timeout=60, metadata=metadata)
            except grpc.RpcError as error:
                return _BY_CODE[error.code()], error.details() or ""
        return Outcome.OK, ""


def outcome(answer: Answer) -> Outcome:
    """Return what came of a call."""
    assert answer.status in {200, *_BY_STATUS}, answer
    return _BY_STATUS.get(answer.status, Outcome.OK)


def id_of(key: str) -> str:
    """Return a key's id."""
    return key.split("_")[1]


def ask_admin(path: Path, what: str) -> bytes:
    """Ask Envoy's administration on its socket; return the answer as it came."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(f"GET {what} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: connection.recv(65536), b""))
