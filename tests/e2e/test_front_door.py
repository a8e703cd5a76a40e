"""The gateway with the real daemon: chat and OIP through it, crashes of either side, an update's shares, and the end of both.

One daemon with one engine serves all of them: llama-server answers OpenAI's API by itself, and OIP over gRPC by its supervisor.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest

from echoplane import Client
from echoplane.channels import DIRECT_OPTIONS
from echoplane.inference import grpc_service_pb2 as oip
from echoplane.inference import grpc_service_pb2_grpc as oip_grpc
from echoplane.v1 import diagnostics_pb2, models_pb2, rollouts_pb2
from echoplaned.testing.daemon import DaemonProcess, free_port
from tests.e2e import e2e_system as e
from tests.engines.llama_parts import model_file, server_file
from tests.gateway.gateway_stage import CHAT, Answer, ask

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

MODEL = "chat"
ECHO = rollouts_pb2.EchoPolicy(enabled=False)
"""What the versions say is judged elsewhere; here it would only take the engine's time."""


@dataclass(frozen=True, slots=True)
class FrontDoorSystem:
    """A running daemon with its gateway.

    Attributes:
        daemon: the daemon.
        listening: the gateway's address.
    """

    daemon: DaemonProcess
    listening: str

    def chat(self, model: str = MODEL, **headers: str) -> Answer:
        """Ask for two tokens."""
        body = {"model": model, "max_tokens": 2, "temperature": 0, "messages": [{"role": "user", "content": "Hello"}]}
        return ask(self.listening, "POST", CHAT, body, headers)

    def infer(self, model: str = MODEL, **metadata: str) -> str:
        """Ask for two tokens by gRPC, as any client of that protocol does; return the version that answered."""
        with grpc.insecure_channel(self.listening, DIRECT_OPTIONS) as channel:
            request = oip.ModelInferRequest(model_name=model)
            tensor = request.inputs.add(name="text", datatype="BYTES", shape=[1])
            tensor.contents.bytes_contents.append(b"Once upon a time")
            request.parameters["max_tokens"].int64_param = 2
            stub = oip_grpc.GRPCInferenceServiceStub(channel)
            answer, call = stub.ModelInfer.with_call(request, timeout=60, metadata=tuple(metadata.items()))
            assert answer.outputs
            return str(dict(call.initial_metadata())["x-model-version"])

    def envoy(self) -> psutil.Process:
        """Return the one Envoy that serves."""
        (found,) = self.daemon.gateways()
        return found

    def answers(self) -> bool:
        """Whether the model answers through the gateway."""
        with contextlib.suppress(grpc.RpcError):
            return bool(self.infer())
        return False


def versions(version: str, context: int, **more: Any) -> dict[str, Any]:
    """Return what a load and an update say alike."""
    source = f"file:{model_file()}"
    shape = {"engine": "llama_cpp", "context_length": context, "max_concurrency": 2}
    return {"model_id": MODEL, "version_id": version, "source_uri": source, **shape, **more}


@pytest.fixture(scope="module")
def door() -> Iterator[FrontDoorSystem]:
    """Run a daemon with a gateway and a model; the paths of its sockets must be short."""
    server_file()
    listening = f"127.0.0.1:{free_port()}"
    gateway = ("--gateway-listen", listening, "--gateway-concurrency", "1")
    flags = ("--engine", f"llama_cpp={sys.prefix}", "--standby-workers", "0", *gateway)
    with tempfile.TemporaryDirectory(prefix="ep-") as folder:
        daemon = DaemonProcess(Path(folder).resolve() / "state", (model_file().parent,), flags)
        try:
            daemon.start(300.0)
            system = FrontDoorSystem(daemon, listening)
            with Client(daemon.address) as client:
                request = models_pb2.LoadModelRequest(**versions("v1", 256))
                client.wait(client.load_model(request), e.LOAD_S)
            e.eventually(system.answers, 60.0, "an answer through the gateway")
            yield system
        finally:
            daemon.clean()


def test_chat_and_its_errors(door: FrontDoorSystem) -> None:
    """A real engine answers a chat by the body's model; what names none, or nobody, gets OpenAI's error; headers choose nothing."""
    answer = door.chat()
    assert answer.status == 200, answer
    assert answer.headers["x-model-version"] == "v1"
    assert json.loads(answer.body)["choices"]
    missing = door.chat("nobody", **{"echoplane-model": MODEL})
    assert (missing.status, missing.json()["error"]["code"]) == (404, "model_not_found")
    unnamed = ask(door.listening, "POST", CHAT, b"{}", {"echoplane-model": MODEL})
    assert (unnamed.status, unnamed.json()["error"]["code"]) == (400, "model_required")


def test_oip_by_name(door: FrontDoorSystem) -> None:
    """An OIP client needs no metadata, and what it says in metadata counts for nothing; NOT_FOUND for a model that is not there."""
    assert door.infer() == "v1"
    assert door.infer(**{"echoplane-model": "nobody"}) == "v1"
    with pytest.raises(grpc.RpcError) as caught:
        door.infer("nobody")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_its_sockets_are_private(door: FrontDoorSystem) -> None:
    """Only this user opens what the gateway is served on, and its administration; both lie in a directory of this user's."""
    folder = door.daemon.state_dir / "gateway"
    assert folder.stat().st_mode & 0o777 == 0o700
    sockets = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir() if path.is_socket()}
    assert sockets.keys() >= {"control.sock", "admin-1.sock"}
    assert set(sockets.values()) == {0o600}, sockets


def serving_gateway(door: FrontDoorSystem) -> diagnostics_pb2.GatewayStatus | None:
    """Give what the daemon says of its gateway, once that is SERVING."""
    with Client(door.daemon.address) as client:
        gateway = client.get_status().gateway
    return gateway if gateway.state == diagnostics_pb2.GATEWAY_STATE_SERVING else None


def test_a_killed_envoy_comes_back(door: FrontDoorSystem) -> None:
    """After kill -9 another one answers, and the daemon never stopped."""
    before = door.envoy().pid
    os.kill(before, signal.SIGKILL)
    e.eventually(door.answers, 30.0, "an answer after the crash")
    assert door.envoy().pid != before
    # Its routes answer as soon as it listens; that it serves is known one look at its administration later.
    gateway = e.eventually(lambda: serving_gateway(door), 30.0, "the daemon sees that it serves")
    assert gateway is not None
    assert (gateway.listen_address, gateway.pid, gateway.restart_count) == (door.listening, door.envoy().pid, 1)
    assert "its process ended" in gateway.last_failure


def test_envoy_outlives_the_daemon(door: FrontDoorSystem) -> None:
    """It serves on while the daemon is dead, and is the same process under the next one, which steers it as before."""
    pid = door.envoy().pid
    door.daemon.kill()
    assert door.infer() == "v1"
    assert door.chat().status == 200
    door.daemon.start(300.0)
    e.eventually(lambda: "gateway.adopted" in door.daemon.tail(20_000), 60.0, "the adoption")
    assert door.envoy().pid == pid
    assert door.infer() == "v1"
    assert door.daemon.stop() == 0
    assert door.infer() == "v1"
    door.daemon.start(300.0)
    assert door.envoy().pid == pid


def test_an_update_is_followed(door: FrontDoorSystem) -> None:
    """The gateway acknowledges each stage as a subscriber, no request fails meanwhile, and the new version takes over."""
    answers: Counter[str] = Counter()
    stop = threading.Event()

    def call() -> None:
        while not stop.is_set():
            answers[door.infer()] += 1

    calling = threading.Thread(target=call)
    with Client(door.daemon.address) as client:
        calling.start()
        try:
            policy = e.fast_policy(stages_percent=(50, 100), probe_count=3, stage_max_s=240, echo=ECHO)
            request = models_pb2.UpdateModelRequest(**versions("v2", 512, policy=policy))
            operation = client.update_model(request)
            subscribers = set()

            def over() -> rollouts_pb2.Rollout | None:
                rollout = client.get_rollout(next(iter(client.list_rollouts(MODEL))).name)
                if rollout.phase == e.Phase.ROLLOUT_PHASE_OBSERVING:
                    subscribers.add(rollout.subscriber_count)
                    assert not rollout.stale_subscribers
                return rollout if rollout.outcome else None

            e.eventually(lambda: bool(list(client.list_rollouts(MODEL))), 60.0, "the rollout")
            rollout = e.eventually(over, 300.0, "the rollout's end")
            client.wait(operation, 60.0)
        finally:
            stop.set()
            calling.join()
    assert rollout is not None
    assert rollout.outcome == rollouts_pb2.ROLLOUT_OUTCOME_SUCCEEDED, rollout
    # Envoy may still be on its way back to the daemon that was just started when the first stage begins.
    assert 1 in subscribers
    assert subscribers <= {0, 1}
    assert answers.keys() == {"v1", "v2"}
    assert door.infer() == "v2"


def test_stop_engines_ends_both(door: FrontDoorSystem) -> None:
    """The command that ends engines ends the gateway too, and nothing of either is left."""
    door.daemon.stop()
    command = [sys.executable, "-m", "echoplaned", "stop-engines", "--state-dir", str(door.daemon.state_dir)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "the gateway ended" in done.stdout
    e.eventually(lambda: not door.daemon.gateways() and not door.daemon.engines(), 30.0, "the end of both")
