"""Bad requests at the front door, with the real Envoy and daemon: refused in the caller's own shape, and no engine hears of them."""

from __future__ import annotations

import contextlib
import gzip
import json
import resource
import socket
import threading
import time
from collections.abc import Iterator

import grpc
import pytest

from echoplane.channels import DIRECT_OPTIONS
from echoplane.inference import grpc_service_pb2 as oip
from echoplane.inference import grpc_service_pb2_grpc as oip_grpc
from echoplane.v1 import models_pb2
from tests.e2e import e2e_system as e
from tests.gateway.gateway_stage import CHAT
from tests.hostile import hostile_door as d

ALIAS = "Org/Paced-1.5"
NESTED = 100_000


@pytest.fixture(scope="module")
def door() -> Iterator[d.DoorTarget]:
    """A gateway with one model."""
    with d.door_target() as target:
        d.load(target, models_pb2.LoadModelRequest(**d.paced(), aliases=[ALIAS]))
        yield target


NAMELESS: dict[str, bytes] = {
    "no model": b"{}",
    "no JSON": b"model=paced",
    "two values": b'{"model":"paced"} {"model":"nobody"}',
    "the same twice": b'{"model":"paced","model":"paced"}',
    "two models": b'{"model":"nobody","model":"paced"}',
    "two models the other way": b'{"model":"paced","model":"nobody"}',
    "two models, one with escapes": b'{"model":"paced","\\u006dodel":"nobody"}',
    "another field twice": b'{"model":"paced","user":"a","user":"b"}',
    "a field twice within": b'{"model":"paced","messages":[{"role":"user","content":"x","content":"y"}]}',
    "brackets": b"[" * NESTED,
    "brackets within": b'{"model":"paced","x":' + b"[" * NESTED + b"]" * NESTED + b"}",
    "objects within": b'{"model":"paced","x":' + b'{"a":' * NESTED + b"1" + b"}" * NESTED + b"}",
    "compressed": gzip.compress(d.chat_body()),
    "a byte order mark": b"\xef\xbb\xbf" + d.chat_body(),
    "UTF-16": d.chat_body().decode().encode("utf-16"),
    "no UTF-8": b'{"model":"paced\xff"}',
    "half a character": b'{"model":"\\ud800"}',
    "null": b'{"model":null}',
    "an empty name": b'{"model":""}',
    "a number beyond all": b'{"model":"paced","seed":1e999}',
    "no number": b'{"model":"paced","top_p":NaN}',
    "a comment": b'{"model":"paced" /* x */}',
    "nothing": b"",
}

UNKNOWN: dict[str, bytes] = {
    "a line's end": b'{"model":"paced\\n"}',
    "a line's end as it is": b'{"model":"paced\n"}',
    "NUL": b'{"model":"paced\\u0000"}',
    "a header": b'{"model":"x\\r\\nechoplane-model: paced"}',
    "a space before": b'{"model":" paced"}',
    "a space behind": b'{"model":"paced "}',
    "upper case": b'{"model":"Paced"}',
    "a list": b'{"model":["paced"]}',
    "an object": b'{"model":{"paced":1}}',
    "a number": b'{"model":7}',
    "a path": b'{"model":"../paced"}',
    "another script": '{"model":"pаced"}'.encode(),  # noqa: RUF001 - a Cyrillic letter
    "10 kB": json.dumps({"model": "x" * 10_240}).encode(),
    "1 MB": json.dumps({"model": "x" * 1_000_000}).encode(),
}


def test_bodies_without_a_model(door: d.DoorTarget) -> None:
    """What names no model, or could name two, is OpenAI's 400, whatever else is wrong with it, and reaches no engine."""
    before = d.counts_at_rest(door)
    for what, body in NAMELESS.items():
        answer = door.ask("POST", CHAT, body)
        error = answer.json()["error"]
        assert (answer.status, error["code"], error["param"]) == (400, "model_required", "model"), what
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        answer = door.ask("POST", CHAT, d.chat_body(), content_type=kind)
        assert (answer.status, "content-type" in answer.json()["error"]["message"]) == (400, True), kind
    assert d.counts_at_rest(door) == before
    assert door.chat().status == 200


def test_names_of_nobody(door: d.DoorTarget) -> None:
    """A name that only looks like a model's is nobody's; what is repeated of it is short, and no line of a header."""
    before = d.counts_at_rest(door)
    for what, body in UNKNOWN.items():
        answer = door.ask("POST", CHAT, body)
        assert (answer.status, answer.json()["error"]["code"]) == (404, "model_not_found"), what
        assert len(answer.body) < 1000, what
        assert "x-model-version" not in answer.headers, what
    assert d.counts_at_rest(door) == before


def test_names_of_nobody_over_grpc(door: d.DoorTarget) -> None:
    """The same over OIP: NOT_FOUND in a trailer that gRPC can read, whatever the name holds."""
    with grpc.insecure_channel(door.listening, DIRECT_OPTIONS) as channel:
        stub = oip_grpc.GRPCInferenceServiceStub(channel)
        for name in ("", "nobody", "paced\n", "paced\0", "x\r\ngrpc-status: 0", "模型", "x" * 10_240, "x" * 1_000_000):
            with pytest.raises(grpc.RpcError) as caught:
                stub.ModelInfer(oip.ModelInferRequest(model_name=name), timeout=20)
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND, (name[:20], caught.value)
            assert len(caught.value.details() or "") < 1000


def test_a_stream_cannot_turn_to_another_model(door: d.DoorTarget) -> None:
    """A stream goes by its first message; one that names another model later is refused there by name, and the stream goes on."""
    with grpc.insecure_channel(door.listening, DIRECT_OPTIONS) as channel:
        stub = oip_grpc.GRPCInferenceServiceStub(channel)
        requests = []
        for name in ("paced", "other", "paced"):
            request = oip.ModelInferRequest(model_name=name)
            tensor = request.inputs.add(name="text", datatype="BYTES", shape=[1])
            tensor.contents.bytes_contents.append(b"Once")
            request.parameters["max_tokens"].int64_param = 1
            requests.append(request)
        errors = [each.error_message for each in stub.ModelStreamInfer(iter(requests), timeout=30)]
    assert [bool(each) for each in errors if each] == [True]
    assert "other" in next(each for each in errors if each)


def test_large_bodies(door: d.DoorTarget) -> None:
    """17 MiB are 413 in each protocol's shape; the gateway's memory stays within its bound."""
    large = b'{"model":"paced","x":"' + b"y" * (17 << 20) + b'"}'
    openai = door.ask("POST", CHAT, large)
    assert (openai.status, openai.json()["error"]["code"]) == (413, "body_too_large")
    triton = door.ask("POST", "/v2/models/paced/infer", large)
    assert (triton.status, triton.json().keys()) == (413, {"error"})
    rest = door.ask("POST", "/api/v1/model_serving/load", large)
    assert (rest.status, rest.json()["code"]) == (413, 8)
    assert door.daemon.gateways()[0].memory_info().rss < 1 << 30


def test_forged_headers(door: d.DoorTarget) -> None:
    """No header of a caller's chooses a model or anything else, in whatever case or spelling."""
    forged = (
        "echoplane-model: paced",
        "ECHOPLANE-MODEL: paced",
        "x-echoplane-conversation: a",
        "x-envoy-original-path: /v1/models",
    )
    before = d.counts_at_rest(door)
    for each in (*forged, "echoplane_model: paced", "connection: echoplane-model"):
        answer = door.send(d.request(CHAT, b"{}", each, "content-type: application/json"))
        assert answer.startswith(b"HTTP/1.1 400"), each
        assert b"model_required" in answer, each
    assert d.counts_at_rest(door) == before


@pytest.mark.parametrize("path", [CHAT, "/v1/models", "/v1/models/nobody", "/v1/nothing"])
def test_methods_of_openais_paths(door: d.DoorTarget, path: str) -> None:
    """Any other method is refused in OpenAI's shape; preflights of pages that nobody named get no word of permission."""
    for method in ("HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE"):
        answer = door.ask(method, path)
        assert answer.status in {400, 404, 405}, (method, answer)
        if method != "HEAD":
            assert answer.json()["error"]["type"] == "invalid_request_error", (method, answer)
    asked = {"origin": "https://page.example", "access_control_request_method": "POST"}
    answer = door.ask("OPTIONS", path, None, **asked)
    assert answer.status in {400, 404}
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_names_in_the_path_of_the_list(door: d.DoorTarget) -> None:
    """`/v1/models/{id}` knows an alias with its slash escaped or not; what leads elsewhere is nothing, and each error is OpenAI's."""
    for path in (ALIAS, ALIAS.replace("/", "%2F"), ALIAS.replace("/", "%2f"), "paced", "x/../paced", f"./{ALIAS}"):
        found = door.ask("GET", f"/v1/models/{path}")
        assert (found.status, found.json()["object"]) == (200, "model"), path
    quoted = 'a"b\\c'
    for path in (
        "nobody",
        "Org%2Fnobody",
        "paced/x",
        "Org",
        "paced%00",
        "paced%0a",
        f"%22{quoted}",
        "x" * 1_000,
        "%252e%252e",
        "模".encode().hex("%"),
    ):
        found = door.ask("GET", f"/v1/models/{path}")
        assert found.status in {400, 404}, (path, found)
        if found.status == 404:
            assert found.json()["error"]["code"] == "model_not_found", (path, found)
    # The path means what it leads to, for whoever reads it: the list, or what the daemon says of itself; no model.
    assert door.ask("GET", "/v1/models/..").json()["error"]["code"] == "model_required"
    assert "state" in door.ask("GET", "/v1/models/../../health").json()


@pytest.mark.parametrize("path", ["/api/v1/model_serving/models", "/health", "/nowhere"])
def test_methods_of_other_paths(door: d.DoorTarget, path: str) -> None:
    """What no route takes is a google.rpc.Status, preflights too."""
    for method in ("OPTIONS", "PUT", "PATCH", "TRACE"):
        answer = door.ask(method, path)
        assert (answer.status, answer.json()["code"]) == (404, 5), (method, answer)


def test_what_is_no_request(door: d.DoorTarget) -> None:
    """What cannot be read as HTTP, or in two ways, ends its own connection and nobody else's."""
    head = "content-type: application/json"
    broken = {
        "two lengths": d.request(CHAT, d.chat_body(), head, "content-length: 5"),
        "length and chunks": d.request(CHAT, d.chat_body(), head, "transfer-encoding: chunked"),
        "NUL in a header": d.request(CHAT, d.chat_body(), head, "x: a\0b"),
        "a header of 100 kB": d.request(CHAT, d.chat_body(), head, f"x: {'a' * 100_000}"),
        "300 headers": d.request(CHAT, d.chat_body(), head, *(f"x{index}: a" for index in range(300))),
        "no host": b"GET /v1/models HTTP/1.1\r\n\r\n",
        "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        "an unknown method": b"FOO /v1/models HTTP/1.1\r\nhost: x\r\n\r\n",
        "a tunnel": b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nhost: 127.0.0.1:22\r\n\r\n",
        "a WebSocket": b"GET /v1/models HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    }
    for what, content in broken.items():
        answer = door.send(content, 5.0)
        assert not answer or answer.split(b" ", 2)[1] in {b"400", b"403", b"404", b"431"}, (what, answer[:100])
    assert door.chat().status == 200


def test_headers_drop_by_drop(door: d.DoorTarget) -> None:
    """Who sends headers a byte at a time is cut off by the clock, however many they are; honest calls go on meanwhile."""
    ended: list[float] = []

    def drip() -> None:
        began = time.monotonic()
        with contextlib.closing(door.connect(1.0)) as connection, contextlib.suppress(OSError):
            connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: door\r\nx: ")
            while time.monotonic() - began < 40:
                connection.sendall(b"a")
                with contextlib.suppress(TimeoutError):
                    connection.recv(1000)
                    break
        ended.append(time.monotonic() - began)

    dripping = [threading.Thread(target=drip) for _ in range(50)]
    for each in dripping:
        each.start()
    honest = [door.seconds_to_answer() for _ in range(20)]
    for each in dripping:
        each.join()
    assert max(honest) < 5.0
    assert len(ended) == 50
    assert max(ended) < 30.0


def idle_beside_honest(door: d.DoorTarget, count: int) -> None:
    """Hold connections that say nothing, and call beside them."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(contextlib.closing(door.connect()))
        for _ in range(20):
            assert door.seconds_to_answer() < 5.0
        assert door.daemon.gateways()[0].memory_info().rss < 1 << 30
    e.eventually(lambda: door.chat().status == 200, 30.0, "an answer after they left")


def test_idle_connections(door: d.DoorTarget) -> None:
    """2,000 connections that say nothing hold up nobody."""
    idle_beside_honest(door, 2_000)


@pytest.mark.soak
def test_too_many_connections(door: d.DoorTarget) -> None:
    """10,000 at most: what comes above that is closed, and when they have left callers are answered again."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 11_000:
        pytest.skip(f"this process may open {hard} files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        idle_beside_honest(door, 9_900)
        with contextlib.ExitStack() as stack:
            held = [stack.enter_context(contextlib.closing(door.connect())) for _ in range(10_300)]
            e.eventually(lambda: sum(map(is_closed, held)) >= 300, 60.0, "the end of those above the bound")
        e.eventually(lambda: d.answers(door), 30.0, "an answer after they left")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side has closed it."""
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
