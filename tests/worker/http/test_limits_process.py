"""What is thrown at a worker's socket: too large, too deep, too slow, no HTTP, and a worker that is told to end."""

from __future__ import annotations

import json
import os
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from echoplane.worker.v1 import worker_pb2
from tests.models import Checkpoints
from tests.worker.live import LiveWorker, live_worker

pytestmark = pytest.mark.system

COMPLETIONS = "/v1/completions"
CHAT = "/v1/chat/completions"
INFER = "/v2/models/m/infer"
PROMPT = {"model": "m", "prompt": "He measured", "temperature": 0}
LONG_STREAM = {
    "model": "m",
    "messages": [{"role": "user", "content": "Hi"}],
    "temperature": 0,
    "max_tokens": 200,
    "n": 4,
    "logprobs": True,
    "top_logprobs": 20,
    "stream": True,
}
"""Its answer has more than 512 KiB, and a unix socket holds some 200 KiB that were not read."""


@pytest.fixture
def client(chatting: LiveWorker) -> Iterator[socket.socket]:
    """A connection to the decoder's worker."""
    with socket.socket(socket.AF_UNIX) as found:
        found.settimeout(30)
        found.connect(chatting.socket)
        yield found


def send_until_cut(client: socket.socket, piece: bytes, pause_s: float) -> None:
    """Send a piece again and again; fail unless the other end closes the connection meanwhile."""
    for _ in range(200):
        try:
            client.sendall(piece)
        except OSError:
            return
        time.sleep(pause_s)
    raise AssertionError("the connection stayed open")


def test_bodies_that_are_too_large(chatting: LiveWorker, http: httpx2.Client) -> None:
    """17 MiB are refused before they are read, with or without a length, as the client's error; the next request is answered."""
    before = chatting.report()
    told = http.post(COMPLETIONS, content=b" " * (17 * 1024 * 1024))
    assert (told.status_code, told.headers["connection"]) == (413, "close")
    pieces = (b" " * 65536 for _ in range(17 * 16))
    assert http.post(COMPLETIONS, content=pieces).status_code == 413
    assert http.post("/v1/messages", content=b" " * (17 * 1024 * 1024)).json()["error"]["type"] == "request_too_large"
    assert http.post(COMPLETIONS, json={**PROMPT, "max_tokens": 1}).status_code == 200
    after = chatting.report()
    assert after.client_error_count - before.client_error_count == 3
    assert after.memory.rss_bytes - before.memory.rss_bytes < 64 * 1024 * 1024


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not JSON"),
        (b"nonsense", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"model": NaN}', "NaN"),
        (b'{"temperature": 1e999}', "too large"),
        (b'{"model": "m", "model": "n"}', "comes twice"),
        (b"[" * 20_000, "nested"),
        (b"[" * 200_000, "values"),
        (b'{"a":' * 10_000, "nested"),
        (b'{"a": [' + b"{}," * 300_000 + b"{}]}", "values"),
    ],
)
def test_bodies_that_are_no_requests(http: httpx2.Client, body: bytes, says: str) -> None:
    """Each is a 400 in OpenAI's form that says why, at once."""
    began_s = time.monotonic()
    answer = http.post(COMPLETIONS, content=body)
    assert answer.status_code == 400
    assert says in answer.json()["error"]["message"]
    assert time.monotonic() - began_s < 10


HALF = "\ud800"
CHATTED = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]}
TENSOR = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["x"]}
PART = {"type": "text", "text": "x"}
HALVES: list[tuple[str, dict[str, Any]]] = [
    (COMPLETIONS, {**PROMPT, HALF: 1}),
    (CHAT, {**CHATTED, HALF: 1}),
    (CHAT, {**CHATTED, "model": HALF}),
    (CHAT, {**CHATTED, "messages": [{"role": "user", "content": "x", HALF: 1}]}),
    (CHAT, {**CHATTED, "messages": [{"role": "user", "content": [{**PART, HALF: 1}]}]}),
    (CHAT, {**CHATTED, "messages": [{"role": "user", "content": [{"type": HALF}]}]}),
    (CHAT, {**CHATTED, "stream": True, "stream_options": {HALF: 1}}),
    ("/v1/embeddings", {"model": "m", "input": "x", HALF: 1}),
    ("/v1/messages", {**CHATTED, HALF: 1}),
    ("/v1/messages", {**CHATTED, "metadata": {HALF: 1}}),
    ("/v1/messages", {**CHATTED, "system": [{**PART, HALF: 1}]}),
    ("/v1/messages", {**CHATTED, "messages": [{"role": HALF, "content": "x"}]}),
    (INFER, {"inputs": [TENSOR], HALF: 1}),
    (INFER, {"inputs": [{**TENSOR, HALF: 1}]}),
    (INFER, {"inputs": [{**TENSOR, "parameters": {HALF: 1}}]}),
    (INFER, {"inputs": [{**TENSOR, "data": [HALF]}]}),
    (INFER, {"inputs": [TENSOR], "outputs": [{"name": "text", HALF: 1}]}),
    (INFER, {"inputs": [TENSOR], "outputs": [{"name": "text", "parameters": {HALF: 1}}]}),
    (INFER, {"inputs": [TENSOR], "parameters": {HALF: 1}}),
    (INFER, {"inputs": [TENSOR], "parameters": {"max_tokens": HALF}}),
]


@pytest.mark.parametrize(("path", "body"), HALVES)
def test_half_a_character(chatting: LiveWorker, http: httpx2.Client, path: str, body: dict[str, Any]) -> None:
    """Wherever it stands, in a name or a value: it is a 400 in the path's form, and the caller's error."""
    before = chatting.report()
    answer = http.post(path, content=json.dumps(body))
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/json"), answer.text
    assert answer.json()["error"]
    after = chatting.report()
    assert after.client_error_count - before.client_error_count == 1
    assert after.server_error_count == before.server_error_count


def test_compressed_bodies_are_refused(http: httpx2.Client) -> None:
    """A worker unpacks nothing."""
    answer = http.post(COMPLETIONS, content=b"x", headers={"content-encoding": "gzip"})
    assert answer.status_code == 415


def test_what_is_no_http(client: socket.socket) -> None:
    """A line that is no request is answered with 400, and the connection ends."""
    client.sendall(b"\x16\x03\x01 hello\r\n\r\n")
    answer = b""
    while piece := client.recv(4096):
        answer += piece
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_headers_without_end(client: socket.socket) -> None:
    """Headers are read up to a size; then the connection ends."""
    client.sendall(b"GET /v1/models HTTP/1.1\r\n")
    send_until_cut(client, b"x-filler: " + b"y" * 8192 + b"\r\n", pause_s=0.01)


def test_a_caller_who_never_ends_its_headers(chatting: LiveWorker, client: socket.socket) -> None:
    """It is let go after ten seconds, whatever it sends meanwhile; others are answered."""
    began_s = time.monotonic()
    client.sendall(b"GET /v1/models HTTP/1.1\r\nhost: x\r\n")
    send_until_cut(client, b"x-slow: 1\r\n", pause_s=0.2)
    assert 8 < time.monotonic() - began_s < 30
    with chatting.http() as http:
        assert http.get("/v1/models").status_code == 200


def test_a_body_that_does_not_come_is_no_hang(chatting: LiveWorker, client: socket.socket) -> None:
    """A request is under way from when its body is there: a slow sender does not make the model look stuck."""
    client.sendall(b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
    time.sleep(0.5)
    assert chatting.report().in_flight_count == 0


def test_pipelined_requests_are_answered_in_order(client: socket.socket) -> None:
    """Two requests on one connection at once have two answers."""
    client.sendall(
        b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\nGET /v2 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    )
    answer = b""
    while piece := client.recv(4096):
        answer += piece
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert answer.index(b'"live"') < answer.index(b'"extensions"')


def test_many_connections_that_say_nothing(chatting: LiveWorker) -> None:
    """Hundreds of idle connections keep nobody else from an answer."""
    idle = [socket.socket(socket.AF_UNIX) for _ in range(300)]
    try:
        for one in idle:
            one.connect(chatting.socket)
        with chatting.http() as http:
            assert http.post(COMPLETIONS, json={**PROMPT, "max_tokens": 1}).status_code == 200
    finally:
        for one in idle:
            one.close()


def test_the_socket_is_this_users_alone(chatting: LiveWorker) -> None:
    """Nobody else can connect; the record names both protocols at it."""
    path = Path(chatting.socket)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    record = json.loads((path.parent / "w1.json").read_text(encoding="utf-8"))
    told = {one["protocol"]: one["address"] for one in record["endpoints"]}
    assert told["OPENAI_HTTP"] == told["OIP_HTTP"] == f"unix:{path}"
    assert told["OIP_GRPC"].startswith("tcp://")


def test_draining_and_the_end(checkpoints: Checkpoints) -> None:
    """Marked as draining it answers on, one request a connection. Told to end: the stream goes on to its end, what is new gets 503."""
    with live_worker(checkpoints.chatting, "GENERATION", context_length=250, max_concurrency=4) as worker:
        worker.control.Drain(worker_pb2.DrainRequest(), metadata=worker.key)
        with worker.http() as http:
            answer = http.post(COMPLETIONS, json={**PROMPT, "max_tokens": 1})
            assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        worker.control.Drain(worker_pb2.DrainRequest(undo=True), metadata=worker.key)
        with worker.http() as http, worker.http() as reader, reader.stream("POST", CHAT, json=LONG_STREAM) as stream:
            assert http.get("/v2/health/live").status_code == 200  # its connection is open before the end begins
            lines = stream.iter_lines()
            told = [next(lines)]
            # Nobody reads on until the refusal: what does not fit into the socket keeps the stream under way.
            worker.control.Shutdown(worker_pb2.ShutdownRequest(grace_s=60), metadata=worker.key)
            refused = _first_refusal(http)
            told += lines
        assert (refused.status_code, refused.headers["connection"]) == (503, "close")
        assert refused.headers["x-model-version"] == "v1"
        assert told[-2:] == ["data: [DONE]", ""]
        assert sum(map(len, told)) > 512 * 1024
        _wait_for_end(worker)
        assert not Path(worker.socket).exists()


def _first_refusal(http: httpx2.Client) -> httpx2.Response:
    """Return the first answer that is an error; the order to end may come a moment after it was answered."""
    for _ in range(200):
        answer = http.get("/v2/health/live")
        if answer.status_code != 200:
            return answer
        time.sleep(0.01)
    raise AssertionError("nothing was refused")


def _wait_for_end(worker: LiveWorker) -> None:
    for _ in range(400):
        state: Any = Path(f"/proc/{worker.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        if state == "Z":
            return
        time.sleep(0.05)
    raise AssertionError(f"process {os.getpid()}: the worker does not end")
