"""A real vLLM beneath a real daemon: chat, the Open Inference Protocol by translation, and updates judged by golden texts."""

from __future__ import annotations

import http.client
import json
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from echoplane import Client, InferenceClient, RolledBackError
from echoplane.errors import EchoplaneError
from echoplane.tensors import Query
from echoplane.v1 import models_pb2, rollouts_pb2, types_pb2
from echoplaned.core.endpoints import EndpointProtocol
from echoplaned.testing.daemon import DaemonProcess
from echoplaned.worker_contract.record import read_records
from tests.e2e import e2e_system as e
from tests.engines.vllm_parts import CONTEXT, START_S, cpu_s, make_model, swap_layers, vllm_prefix

pytestmark = [pytest.mark.engines, pytest.mark.timeout(3600)]

MODEL = "talk"
PROMPT = "the model answers every request"
TOKENS = 8
POLICY = e.fast_policy(
    stages_percent=(50, 100), probe_count=5, stage_max_s=120.0, ack_timeout_s=30.0, prepare_timeout_s=START_S,
    echo=rollouts_pb2.EchoPolicy(prompt_count=16, preset=rollouts_pb2.ECHO_PRESET_SAME_WEIGHTS),
)  # fmt: skip


class SocketConnection(http.client.HTTPConnection):
    """HTTP over an engine's unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=120)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self._path)


@dataclass
class Served:
    """A daemon whose model is on vLLM, and what its callers saw."""

    daemon: DaemonProcess
    client: Client
    sources: dict[str, Path]
    answers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Post to the first version's own socket; return the answer."""
        (target,) = [
            one.target
            for record in read_records(self.daemon.state_dir)
            if record.instance.startswith(f"{MODEL}/v1#")
            for one in record.endpoints
            if one.protocol is EndpointProtocol.OPENAI_HTTP
        ]
        connection = SocketConnection(target.removeprefix("unix:"))
        connection.request("POST", path, json.dumps({"model": MODEL, **body}), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        assert answer.status == 200, text
        found: dict[str, Any] = json.loads(text)
        return found

    def update(self, version: str) -> rollouts_pb2.Rollout:
        """Update to a version that shall be equivalent; return the rollout's end.

        Raises:
            RolledBackError: it was taken back.
        """
        request = models_pb2.UpdateModelRequest(
            model_id=MODEL, version_id=version, source_uri=f"file:{self.sources[version]}", engine="vllm",
            context_length=CONTEXT, max_concurrency=2, policy=POLICY,
            behaviour_change=types_pb2.BEHAVIOUR_CHANGE_EQUIVALENT,
        )  # fmt: skip
        self.client.wait(self.client.update_model(request), 2 * START_S)
        return self.rollout()

    def rollout(self) -> rollouts_pb2.Rollout:
        """Return the latest rollout."""
        return self.client.get_rollout(next(iter(self.client.list_rollouts(MODEL))).name)

    def call(self, ended: threading.Event) -> None:
        """Infer over xDS, again and again."""
        with InferenceClient(MODEL, control=self.daemon.address) as caller:
            while not ended.wait(0.2):
                try:
                    answer = caller.infer(Query(texts=[PROMPT], parameters={"max_tokens": 2}))
                except EchoplaneError as error:
                    self.failures.append(str(error))
                else:
                    self.answers[answer.version] += 1


def heard(served: Served) -> rollouts_pb2.BehaviourReport:
    """Return what the echo gate measured in the latest rollout."""
    report = served.client.explain(served.rollout().name).behaviour
    assert report.text_count, "no golden text was scored by both versions"
    return report


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """Load the model on vLLM, and print what that took."""
    with tempfile.TemporaryDirectory(prefix="ep-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        first = make_model(folder / "models" / "first")
        sources = {"v1": first, "same": first, "swapped": swap_layers(first, folder / "models" / "swapped")}
        daemon = DaemonProcess(
            folder / "state", (folder / "models",), ("--engine", f"vllm={vllm_prefix()}", "--standby-workers", "0")
        )
        try:
            daemon.start(300.0)
            with Client(daemon.address) as client:
                request = models_pb2.LoadModelRequest(
                    model_id=MODEL, version_id="v1", source_uri=f"file:{first}", engine="vllm", context_length=CONTEXT,
                    max_concurrency=2,
                )  # fmt: skip
                began_s = time.monotonic()
                client.wait(client.load_model(request), START_S)
                (record,) = read_records(daemon.state_dir)
                took_s = time.monotonic() - began_s
                print(f"\nloaded on vLLM after {took_s:.0f} s, of which {cpu_s(record.pid):.0f} s on a CPU")  # noqa: T201
                yield Served(daemon, client, sources)
        except BaseException as error:
            error.add_note(f"the daemon's last lines:\n{daemon.tail()}")
            raise
        finally:
            daemon.clean()


def test_it_chats_at_its_own_socket(served: Served) -> None:
    """OpenAI's API is the engine's own: the checkpoint's template is applied, and a name of the version is answered too."""
    body = {"temperature": 0, "max_tokens": TOKENS, "messages": [{"role": "user", "content": PROMPT}]}
    answer = served.post("/v1/chat/completions", body)
    assert answer["choices"][0]["message"]["content"]
    assert answer["usage"]["completion_tokens"] <= TOKENS
    assert answer["model"] == MODEL


def test_the_translation_says_what_the_engine_says(served: Served) -> None:
    """The same prompt over ``xds:///models/talk`` has the same tokens, and their log-probabilities."""
    body = {"prompt": PROMPT, "temperature": 0, "max_tokens": TOKENS, "logprobs": 0, "return_token_ids": True}
    direct = served.post("/v1/completions", body)["choices"][0]
    with InferenceClient(MODEL, control=served.daemon.address) as caller:
        answer = caller.infer(Query(texts=[PROMPT], parameters={"max_tokens": TOKENS}))
    assert answer.version == "v1"
    assert answer.outputs["token_ids"].values[0] == direct["token_ids"]
    assert answer.outputs["text"].values[0] == direct["text"]
    assert answer.outputs["logprobs"].values[0] == pytest.approx(direct["logprobs"]["token_logprobs"], abs=1e-4)


@pytest.fixture
def traffic(served: Served) -> Iterator[None]:
    """Callers during a test; none of them fails."""
    ended = threading.Event()
    caller = threading.Thread(target=served.call, args=(ended,))
    caller.start()
    try:
        yield
    finally:
        ended.set()
        caller.join(60.0)
    assert served.failures == []


Say = Callable[[str], None]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Print a line of figures at once."""

    def print_line(line: str) -> None:
        with capsys.disabled():
            print(f"\n{line}", end="", flush=True)  # noqa: T201 - the figures of the gate

    return print_line


@pytest.mark.usefixtures("traffic")
def test_two_swapped_layers_are_rolled_back(served: Served, say: Say) -> None:
    """Both versions score the golden texts; the difference is far above the margin for the same weights."""
    began_s = time.monotonic()
    with pytest.raises(RolledBackError, match="gate echo: ECHO_DIFFERS"):
        served.update("swapped")
    report = heard(served)
    say(
        f"swapped layers: {report.mean:.3g} nats a token over {report.text_count} texts, margin {report.margin:.3g};"
        f" back after {time.monotonic() - began_s:.0f} s, {served.answers}"
    )
    assert report.mean > report.margin > 0.0


@pytest.mark.usefixtures("traffic")
def test_the_same_weights_pass(served: Served, say: Say) -> None:
    """A second engine on the same files scores alike, and takes over without a failed request."""
    began_s = time.monotonic()
    rollout = served.update("same")
    report = heard(served)
    say(
        f"same weights: {report.mean:.3g} nats a token over {report.text_count} texts, margin {report.margin:.3g};"
        f" done after {time.monotonic() - began_s:.0f} s, {served.answers}"
    )
    assert rollout.outcome == rollouts_pb2.ROLLOUT_OUTCOME_SUCCEEDED
    assert report.mean < report.margin
    assert served.answers["same"]
