"""Official clients, unchanged, against a worker: OpenAI's, Anthropic's and Triton's. Each is skipped where it is not installed."""

from __future__ import annotations

import selectors
import socket
import socketserver
import threading
from collections.abc import Iterator
from typing import Any

import httpx2
import numpy as np
import pytest

from tests.worker.live import LiveWorker, rows, text_request, texts

pytestmark = pytest.mark.system

HELLO: Any = [{"role": "user", "content": "The river"}]


class Forwarder(socketserver.BaseRequestHandler):
    """Carries bytes between a connection and one to a unix socket, until either end closes."""

    path = ""

    def handle(self) -> None:
        """Carry them."""
        with socket.socket(socket.AF_UNIX) as worker, selectors.DefaultSelector() as ready:
            worker.connect(self.path)
            ready.register(self.request, selectors.EVENT_READ, worker)
            ready.register(worker, selectors.EVENT_READ, self.request)
            while True:
                for key, _ in ready.select():
                    source: Any = key.fileobj
                    data = source.recv(65536)
                    if not data:
                        return
                    key.data.sendall(data)


@pytest.fixture
def port(chatting: LiveWorker) -> Iterator[int]:
    """A port of loopback that leads to the decoder's worker: some clients know no unix sockets."""
    handler = type("ToWorker", (Forwarder,), {"path": chatting.socket})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.05,))
        serving.start()
        yield server.server_address[1]
        server.shutdown()
        serving.join()


def test_openai(chatting: LiveWorker, embedding: LiveWorker) -> None:
    """Chat, completions, streams, models, embeddings and errors, by the client's own types."""
    openai = pytest.importorskip("openai", reason="the package openai is not installed")
    with (
        chatting.http() as http,
        openai.OpenAI(base_url="http://worker/v1", api_key="none", http_client=http) as client,
    ):
        greedy = {"model": "m", "max_tokens": 8, "temperature": 0}
        chat = client.chat.completions.create(messages=HELLO, **greedy)
        stream = client.chat.completions.create(
            messages=HELLO, stream=True, stream_options={"include_usage": True}, **greedy
        )
        pieces = list(stream)
        told = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
        assert told == chat.choices[0].message.content
        assert pieces[-1].usage == chat.usage
        completion = client.completions.create(prompt="The river", logprobs=1, **greedy)
        assert completion.choices[0].text == texts(chatting.oip.ModelInfer(text_request("The river", max_tokens=8)))[0]
        assert [model.id for model in client.models.list()] == ["m"]
        with pytest.raises(openai.NotFoundError) as caught:
            client.chat.completions.create(model="other", messages=HELLO)
        assert caught.value.code == "model_not_found"
        with pytest.raises(openai.BadRequestError) as refused:
            client.chat.completions.create(model="m", messages=HELLO, logit_bias={"5": 1})
        assert refused.value.param == "logit_bias"
    with (
        embedding.http() as http,
        openai.OpenAI(base_url="http://worker/v1", api_key="none", http_client=http) as client,
    ):
        vectors = client.embeddings.create(model="m", input=["the river", "bread"])  # base64 by default
        expected = rows(embedding.oip.ModelInfer(text_request("the river", "bread")), "embedding")
    for one, row in zip(vectors.data, expected, strict=True):
        assert one.embedding == pytest.approx(row, abs=1e-5)


async def test_openai_beside_the_loop(chatting: LiveWorker) -> None:
    """The asynchronous client streams as well."""
    openai = pytest.importorskip("openai", reason="the package openai is not installed")
    transport = httpx2.AsyncHTTPTransport(uds=chatting.socket)
    async with httpx2.AsyncClient(transport=transport, timeout=100) as http:
        client = openai.AsyncOpenAI(base_url="http://worker/v1", api_key="none", http_client=http)
        stream = await client.chat.completions.create(model="m", messages=HELLO, max_tokens=5, stream=True)
        pieces = [piece async for piece in stream]
    assert pieces[-1].choices[0].finish_reason in {"length", "stop"}


def test_anthropic(chatting: LiveWorker) -> None:
    """A message whole and streamed, and an error, by the client's own types."""
    anthropic = pytest.importorskip("anthropic", reason="the package anthropic is not installed")
    # Its newest releases have no argument for it; older ones, and our worker, do.
    body = {"model": "m", "max_tokens": 8, "messages": HELLO, "extra_body": {"temperature": 0}}
    with (
        chatting.http() as http,
        anthropic.Anthropic(base_url="http://worker", api_key="none", http_client=http) as client,
    ):
        message = client.messages.create(**body)
        with client.messages.stream(**body) as stream:
            told = "".join(stream.text_stream)
            final = stream.get_final_message()
        assert told == message.content[0].text
        assert (final.usage.output_tokens, final.stop_reason) == (8, "max_tokens")
        with pytest.raises(anthropic.BadRequestError, match="tools"):
            client.messages.create(**body, tools=[{"name": "x", "input_schema": {"type": "object"}}])


def test_triton(chatting: LiveWorker, port: int) -> None:
    """Health, metadata and inference with binary and JSON tensors, as Triton's client sends them."""
    client_module = pytest.importorskip("tritonclient.http", reason="the package tritonclient[http] is not installed")
    expected = chatting.oip.ModelInfer(text_request("The river", max_tokens=6))
    with client_module.InferenceServerClient(f"127.0.0.1:{port}") as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("m", "v1")
        assert client.get_model_metadata("m")["versions"] == ["v1"]
        for is_binary in (True, False):
            tensor = client_module.InferInput("text", [1], "BYTES")
            tensor.set_data_from_numpy(np.array([b"The river"], dtype=object), binary_data=is_binary)
            wanted = [
                client_module.InferRequestedOutput(name, binary_data=is_binary)
                for name in ("text", "token_ids", "logprobs")
            ]
            for outputs in (wanted, None):
                answer = client.infer("m", [tensor], outputs=outputs, parameters={"max_tokens": 6})
                assert _texts(answer.as_numpy("text")) == texts(expected)
                assert answer.as_numpy("token_ids").tolist() == [list(rows(expected, "token_ids")[0])]
                assert answer.as_numpy("logprobs")[0] == pytest.approx(rows(expected, "logprobs")[0], abs=1e-5)
        with pytest.raises(client_module.InferenceServerException, match="serves model"):
            client.infer("other", [tensor])


def _texts(values: Any) -> list[str]:
    """Return texts, which the client gives as bytes where they came as binary data."""
    return [one.decode() if isinstance(one, bytes) else str(one) for one in values]
