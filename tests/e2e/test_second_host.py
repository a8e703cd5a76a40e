"""A second host, as a network namespace: curl, openai and grpcurl over TLS with a key, and a rollout under load from there."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from echoplane import Client
from echoplane.v1 import keys_pb2, models_pb2, rollouts_pb2
from echoplaned import __main__ as root
from echoplaned.security.pki_files import PkiDirectory
from echoplaned.testing import checkpoints
from echoplaned.testing.daemon import DaemonProcess, free_port
from tests.e2e import e2e_system as e
from tests.e2e.e2e_second_host import HERE, SecondHost, second_host
from tests.e2e.test_grpcurl import GRPCURL

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

MODEL = "chat"
CONTEXT = 64
TEXT_BASE64 = "T25jZSB1cG9uIGEgdGltZQ=="
PROTOS = Path(__file__).parents[2] / "proto" / "third_party"
REMOTE_LOAD = Path(__file__).with_name("e2e_remote_load.py")


@dataclass(frozen=True, slots=True)
class Remote:
    """A daemon here, and a host that reaches nothing of it but its gateway.

    Attributes:
        host: the other host.
        daemon: the daemon.
        port: the gateway's port, on all addresses.
        ca: the certificate that the host trusts.
        key: a client's.
    """

    host: SecondHost
    daemon: DaemonProcess
    port: int
    ca: str
    key: str

    @property
    def socket(self) -> str:
        """The daemon's own socket, as gRPC dials it."""
        return f"unix:{self.daemon.state_dir}/api.sock"

    def curl(self, path: str, *more: str) -> Any:
        """Ask from the other host; return the answer's JSON."""
        line = ["curl", "-sS", "--noproxy", "*", "--max-time", "30", "--cacert", self.ca, *more]
        return json.loads(self.host.run(*line, f"https://{HERE}:{self.port}{path}"))


@pytest.fixture(scope="module")
def remote() -> Iterator[Remote]:
    """Run a daemon with a model that listens on all addresses, and the other host; the paths of its sockets must be short."""
    with second_host() as host, tempfile.TemporaryDirectory(prefix="ep-") as name:
        folder, port = Path(name).resolve(), free_port()
        (folder / "models").mkdir()
        checkpoints.add_chat_template(checkpoints.make_decoder(folder / "models/plain"), folder / "models/chatting")
        pki = PkiDirectory.create(folder / "pki", "echoplane.test", time.time(), timedelta(days=2))
        assert root.main(["pki", "issue", "door", "--role", "gateway", "--ip", HERE, "--dir", str(pki.folder)]) == 0
        gateway = ["--gateway-listen", f"0.0.0.0:{port}", "--gateway-tls-dir", str(pki.folder / "door")]
        flags = (*gateway, "--gateway-keys", "required", "--gateway-concurrency", "1", "--standby-workers", "0")
        daemon = DaemonProcess(folder / "state", (folder / "models",), flags)
        try:
            daemon.start(300.0)
            with Client(f"unix:{daemon.state_dir}/api.sock") as client:
                client.wait(client.load_model(models_pb2.LoadModelRequest(**version("v1"))), e.LOAD_S)
                key = client.create_key(keys_pb2.CreateKeyRequest(role=keys_pb2.ROLE_CLIENT)).secret
            found = Remote(host, daemon, port, str(pki.folder / "ca" / "cert.pem"), key)
            e.eventually(lambda: answers(found), 60.0, "an answer to the other host")
            yield found
        finally:
            daemon.clean()


def version(name: str, context: int = CONTEXT) -> dict[str, Any]:
    """Return what loads, or updates to, a version of the model."""
    return {"model_id": MODEL, "version_id": name, "source_uri": "file:chatting", "context_length": context}


def answers(remote: Remote) -> bool:
    """Whether gRPC from the other host is answered."""
    with contextlib.suppress(AssertionError):
        return "outputs" in grpcurl(remote)
    return False


def grpcurl(remote: Remote, *more: str) -> Any:
    """Ask for two tokens by gRPC from the other host."""
    body = {
        "model_name": MODEL,
        "parameters": {"max_tokens": {"int64_param": 2}},
        "inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "contents": {"bytes_contents": [TEXT_BASE64]}}],
    }
    words = ["-cacert", remote.ca, "-import-path", str(PROTOS), "-proto", "echoplane/inference/grpc_service.proto"]
    call = [f"{HERE}:{remote.port}", "inference.GRPCInferenceService/ModelInfer"]
    key = more or ("-H", f"authorization: Bearer {remote.key}")
    return json.loads(remote.host.run(str(GRPCURL), *words, *key, "-d", json.dumps(body), *call))


_LIST = """
import ssl, sys, openai
context = ssl.create_default_context(cafile=sys.argv[2])
http_client = openai.DefaultHttpxClient(verify=context, trust_env=False)
with openai.OpenAI(base_url=sys.argv[1], api_key=sys.argv[3], http_client=http_client) as client:
    print(*[model.id for model in client.models.list()])
"""

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
needs_grpcurl = pytest.mark.skipif(GRPCURL is None, reason="grpcurl needs Go; `make setup` builds it where Go is")


@needs_curl
def test_curl(remote: Remote) -> None:
    """With a key it is answered, without one refused; without TLS there is nothing, nor at the API's own port."""
    bearer = ("-H", f"authorization: Bearer {remote.key}")
    assert [each["id"] for each in remote.curl("/v1/models", "--fail", *bearer)["data"]] == [MODEL]
    assert remote.curl("/v1/models")["error"]["code"] == "invalid_api_key"
    plain = ("curl", "-sS", "--noproxy", "*", "--max-time", "30", *bearer)
    assert not remote.host.answered(*plain, f"http://{HERE}:{remote.port}/v1/models")
    assert not remote.host.answered(*plain, f"http://{HERE}:{remote.daemon.port}/")


def test_openai(remote: Remote) -> None:
    """OpenAI's own client lists the model with the CA and a key alone."""
    url = f"https://{HERE}:{remote.port}/v1"
    assert remote.host.run(sys.executable, "-c", _LIST, url, remote.ca, remote.key).split() == [MODEL]


@needs_grpcurl
def test_grpcurl(remote: Remote) -> None:
    """Inference answers over TLS with a key; without one, and for what the control API offers, it is refused."""
    assert grpcurl(remote)["modelVersion"] == "v1"
    with pytest.raises(AssertionError, match="Unauthenticated"):
        grpcurl(remote, "-H", "x: y")
    native = [str(GRPCURL), "-cacert", remote.ca, "-H", f"authorization: Bearer {remote.key}"]
    with pytest.raises(AssertionError, match="PermissionDenied"):
        remote.host.run(*native, f"{HERE}:{remote.port}", "list")


@needs_grpcurl
def test_a_rollout_under_load(remote: Remote) -> None:
    """Chat, streams and gRPC go on over TLS through all stages of an update: none fails, and both versions answer."""
    command = [sys.executable, str(REMOTE_LOAD), HERE, str(remote.port), remote.ca, remote.key, MODEL]
    with remote.host.started(*command) as calling:
        assert calling.stdout is not None
        assert calling.stdout.readline() == "calling\n"
        with Client(remote.socket) as client:
            policy = e.fast_policy(stages_percent=(50, 100))
            client.wait(
                client.update_model(models_pb2.UpdateModelRequest(**version("v2", CONTEXT - 8), policy=policy)), 300.0
            )
            rollout = client.get_rollout(next(iter(client.list_rollouts(MODEL))).name)
        said, _ = calling.communicate("", timeout=120)
    told = json.loads(said)
    assert not told["failures"], told
    assert rollout.outcome == rollouts_pb2.ROLLOUT_OUTCOME_SUCCEEDED, rollout
    assert told["answers"].keys() == {
        f"{kind} {version}" for kind in ("chat", "stream", "grpc") for version in ("v1", "v2")
    }
    logging.getLogger(__name__).info("answers meanwhile: %s", told["answers"])
