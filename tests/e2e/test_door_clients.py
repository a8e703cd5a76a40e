"""Official clients, unchanged, through the gateway to the embedded engine: OpenAI's, Anthropic's, Triton's over HTTP and gRPC, and curl."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echoplane import Client
from echoplane.v1 import models_pb2
from echoplaned.testing import checkpoints
from echoplaned.testing.daemon import DaemonProcess, free_port
from tests.e2e import e2e_system as e
from tests.gateway.gateway_stage import CHAT, ask

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

HELLO: Any = [{"role": "user", "content": "The river"}]
ALIAS = "Org/Talk-1.5"
GREEDY: Any = {"max_tokens": 6, "temperature": 0}


@pytest.fixture(scope="module")
def door() -> Iterator[str]:
    """The gateway's address, behind which one model chats and one embeds."""
    listening = f"127.0.0.1:{free_port()}"
    with tempfile.TemporaryDirectory(prefix="ep-") as folder:
        root = Path(folder).resolve()
        checkpoints.add_chat_template(checkpoints.make_decoder(root / "plain"), root / "chatting")
        checkpoints.make_encoder(root / "encoder")
        daemon = DaemonProcess(
            root / "state",
            (root,),
            ("--gateway-listen", listening, "--gateway-concurrency", "1", "--standby-workers", "0"),
        )
        try:
            daemon.start(300.0)
            with Client(daemon.address) as client:
                talk = models_pb2.LoadModelRequest(
                    model_id="talk", version_id="v1", source_uri="file:chatting", context_length=64, aliases=[ALIAS]
                )
                embed = models_pb2.LoadModelRequest(model_id="embed", version_id="v1", source_uri="file:encoder")
                for operation in (client.load_model(talk), client.load_model(embed)):
                    client.wait(operation, e.LOAD_S)
            body = {"model": ALIAS, "messages": HELLO, **GREEDY}
            e.eventually(lambda: ask(listening, "POST", CHAT, body).status == 200, 60.0, "an answer by the alias")
            yield listening
        finally:
            daemon.clean()


def test_openai(door: str) -> None:
    """Chat by id and alias, streams, embeddings, models and errors, by the client's own types."""
    openai = pytest.importorskip("openai", reason="the package openai is not installed")
    with openai.OpenAI(base_url=f"http://{door}/v1", api_key="none") as client:
        chat = client.chat.completions.create(model="talk", messages=HELLO, **GREEDY)
        same = client.chat.completions.with_raw_response.create(model=ALIAS, messages=HELLO, **GREEDY)
        assert same.headers["x-model-version"] == "v1"
        assert same.parse().choices[0].message.content == chat.choices[0].message.content
        pieces = client.chat.completions.create(model="talk", messages=HELLO, stream=True, **GREEDY)
        told = "".join(piece.choices[0].delta.content or "" for piece in pieces)
        assert told == chat.choices[0].message.content
        vector = client.embeddings.create(model="embed", input=["one", "two"]).data
        assert [len(each.embedding) for each in vector] == [128, 128]
        assert {each.id for each in client.models.list()} == {"talk", ALIAS, "embed"}
        assert client.models.retrieve(ALIAS).id == ALIAS
        with pytest.raises(openai.NotFoundError) as unknown:
            client.chat.completions.create(model="nobody", messages=HELLO)
        assert unknown.value.code == "model_not_found"
        with pytest.raises(openai.BadRequestError) as refused:
            client.chat.completions.create(model="talk", messages=HELLO, logit_bias={"5": 1})
        assert refused.value.param == "logit_bias"


def test_openai_at_once(door: str) -> None:
    """Ten calls of the asynchronous client at a time are all answered, and alike."""
    openai = pytest.importorskip("openai", reason="the package openai is not installed")

    async def run() -> set[str]:
        async with openai.AsyncOpenAI(base_url=f"http://{door}/v1", api_key="none") as client:
            calls = (client.chat.completions.create(model="talk", messages=HELLO, **GREEDY) for _ in range(10))
            return {each.choices[0].message.content for each in await asyncio.gather(*calls)}

    assert len(asyncio.run(run())) == 1


def test_anthropic(door: str) -> None:
    """A message, whole and as a stream."""
    anthropic = pytest.importorskip("anthropic", reason="the package anthropic is not installed")
    with anthropic.Anthropic(base_url=f"http://{door}", api_key="none") as client:
        greedy: Any = {"messages": HELLO, "max_tokens": 6, "extra_body": {"temperature": 0}}
        message = client.messages.create(model="talk", **greedy)
        with client.messages.stream(model=ALIAS, **greedy) as stream:
            assert "".join(stream.text_stream) == message.content[0].text


def test_triton_over_http(door: str) -> None:
    """Readiness, metadata, and vectors with typed and binary tensors."""
    triton = pytest.importorskip("tritonclient.http", reason="the package tritonclient[http] is not installed")
    with triton.InferenceServerClient(door) as client:
        assert client.is_model_ready("embed")
        assert client.get_model_metadata("embed")["outputs"][0]["name"] == "embedding"
        vectors = []
        for binary in (True, False):
            text = triton.InferInput("text", [1], "BYTES")
            text.set_data_from_numpy(np.array([b"one"], dtype=np.object_), binary_data=binary)
            wanted = triton.InferRequestedOutput("embedding", binary_data=binary)
            vectors.append(client.infer("embed", [text], outputs=[wanted]).as_numpy("embedding"))
        np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)


TRITON_GRPC = """
import sys
import numpy as np
import tritonclient.grpc as triton

with triton.InferenceServerClient(sys.argv[1]) as client:
    assert client.is_model_ready("embed")
    assert client.get_model_metadata("embed").outputs[0].name == "embedding"
    text = triton.InferInput("text", [1], "BYTES")
    text.set_data_from_numpy(np.array([b"one"], dtype=np.object_))
    print(client.infer("embed", [text]).as_numpy("embedding").shape)
    try:
        client.infer("nobody", [text])
    except triton.InferenceServerException as error:
        print(error.status())
"""


def test_triton_over_grpc(door: str) -> None:
    """Metadata and vectors by the model's name alone; a model that is not there is NOT_FOUND.

    In a process of its own: its messages and ours have the same names, and a process has one of each.
    """
    if importlib.util.find_spec("tritonclient") is None:
        pytest.skip("the package tritonclient is not installed")
    ran = subprocess.run(
        [sys.executable, "-c", TRITON_GRPC, door], capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split("\n") == ["(1, 128)", "StatusCode.NOT_FOUND", ""]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl(door: str) -> None:
    """One line of curl gets a vector, and one the list of models."""
    body = json.dumps({"model": "embed", "input": "one"})
    line = ["curl", "--silent", "--fail", "--noproxy", "*", f"http://{door}/v1/embeddings"]
    sent = subprocess.run([*line, "--json", body], capture_output=True, check=True, timeout=60)
    assert len(json.loads(sent.stdout)["data"][0]["embedding"]) == 128
    listed = subprocess.run([*line[:-1], f"http://{door}/v1/models"], capture_output=True, check=True, timeout=60)
    assert {each["id"] for each in json.loads(listed.stdout)["data"]} == {"talk", ALIAS, "embed"}
