"""Keys under attack with the real Envoy and daemon: guesses by the thousand, and requests that hide behind others."""

from __future__ import annotations

import logging
import statistics
import struct
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from echoplane import Client
from echoplane.v1 import keys_pb2, models_pb2
from tests.e2e import e2e_system as e
from tests.gateway.gateway_stage import CHAT
from tests.hostile import hostile_door as d
from tests.hostile.guessing import Guesser, wrong_key

RATE = 1_000
"""Wrong keys a second; on a machine that is too slow for it, as many as it can."""

GUESSES = 4_000
PATIENCE_S = 60.0
CALLS = 40


@dataclass(frozen=True, slots=True)
class KeyedTarget:
    """A gateway that asks for keys, and two of them.

    Attributes:
        door: the gateway.
        honest: a key that may call the model.
        other: one that may call another model only.
    """

    door: d.DoorTarget
    honest: str
    other: str

    def seconds_to_answer(self) -> float:
        """Return how long an honest call takes."""
        began = time.monotonic()
        answer = self.door.ask("GET", "/v1/models", authorization=f"Bearer {self.honest}")
        assert answer.status == 200, answer
        return time.monotonic() - began

    def chat(self) -> int:
        """Ask the model with the honest key; return the status."""
        return self.door.ask("POST", CHAT, d.chat_body(), authorization=f"Bearer {self.honest}").status

    def usage_rows(self) -> set[str]:
        """Return the clients that the daemon keeps usage of."""
        with Client(f"unix:{self.door.daemon.state_dir}/api.sock") as client:
            return {each.client for each in client.get_usage().usages}


@pytest.fixture(scope="module")
def target() -> Iterator[KeyedTarget]:
    """A gateway that asks for keys, with a model that counts what reaches it."""
    with d.door_target("--gateway-keys", "required") as door:
        with Client(f"unix:{door.daemon.state_dir}/api.sock") as client:
            client.wait(client.load_model(models_pb2.LoadModelRequest(**d.paced())), e.LOAD_S)
            honest, other = (
                client.create_key(keys_pb2.CreateKeyRequest(role=keys_pb2.ROLE_CLIENT, models=[model])).secret
                for model in (d.PACED, "other")
            )
        found = KeyedTarget(door, honest, other)
        e.eventually(lambda: found.chat() == 200, 60.0, "an answer to the honest key")
        yield found


def test_a_thousand_wrong_keys_a_second(target: KeyedTarget) -> None:
    """Each is refused, honest calls beside them are all answered, and nothing is kept of those that nobody made."""
    quiet = [target.seconds_to_answer() for _ in range(CALLS)]
    clients = target.usage_rows()
    with Guesser(target.door.listening, RATE) as guesser:
        began = time.monotonic()
        attacked: list[float] = []
        while (guesser.sent < GUESSES or len(attacked) < CALLS) and time.monotonic() - began < PATIENCE_S:
            attacked.append(target.seconds_to_answer())
        answered = target.chat()
    assert answered == 200
    assert guesser.refused == guesser.sent
    assert guesser.sent >= GUESSES
    medians = [1e3 * statistics.median(each) for each in (quiet, attacked)]
    logging.getLogger(__name__).info(
        "%.0f wrong keys a second; honest calls, median ms: %.1f, beside them %.1f, slowest %.1f",
        guesser.sent / guesser.seconds, *medians, 1e3 * max(attacked),
    )  # fmt: skip
    assert max(attacked) < 5.0
    assert target.usage_rows() - clients <= {"", target.honest.split("_")[1]}
    with_wrong = target.door.ask("GET", "/v1/models", authorization=f"Bearer {wrong_key(0)}")
    assert with_wrong.json()["error"]["code"] == "invalid_api_key"


def hidden(key: str) -> bytes:
    """Write a whole request for the model, to be hidden in another."""
    return d.request(CHAT, d.chat_body(), "content-type: application/json", f"authorization: Bearer {key}")


def outer(*headers: str, body: bytes, key: str) -> bytes:
    """Write the request that hides it, with the headers that say where its body ends."""
    head = ["POST /v1/chat/completions HTTP/1.1", "host: door", f"authorization: Bearer {key}", *headers]
    return "\r\n".join([*head, "content-type: application/json", "", ""]).encode("latin-1") + body


CHUNKED = "transfer-encoding: chunked"
AMBIGUOUS: dict[str, tuple[str, ...]] = {
    "two lengths": ("content-length: 0", "content-length: 500"),
    "two lengths the other way": ("content-length: 500", "content-length: 0"),
    "lengths in one": ("content-length: 0, 500",),
    "a length and chunks": ("content-length: 5", CHUNKED),
    "chunks and a length": (CHUNKED, "content-length: 5"),
    "chunks twice": (CHUNKED, "transfer-encoding: identity"),
    "a list of encodings": ("transfer-encoding: identity, chunked",),
    "an encoding that is none": ("transfer-encoding: xchunked", "content-length: 5"),
    "a space before the colon": ("transfer-encoding : chunked", "content-length: 5"),
    "a folded header": ("x: y\r\n transfer-encoding: chunked", "content-length: 5"),
    "a tab within": ("transfer-encoding:\tchunked", "content-length: 5"),
    "a vertical tab": ("transfer-encoding:\x0bchunked", "content-length: 5"),
    "a bare line feed": ("x: y\ntransfer-encoding: chunked", "content-length: 5"),
    "a bare carriage return": ("x: y\rtransfer-encoding: chunked", "content-length: 5"),
    "upper case": ("TRANSFER-ENCODING: CHUNKED", "content-length: 5"),
    "a signed length": ("content-length: +5",),
    "a negative length": ("content-length: -5",),
    "a hexadecimal length": ("content-length: 0x5",),
    "a length beyond 64 bits": ("content-length: 18446744073709551621",),
    "an underscore": ("content_length: 500", "content-length: 5"),
}
CHUNKS: dict[str, bytes] = {
    "a signed chunk": b"+0\r\n\r\n",
    "a chunk with an extension": b"0;a=b\r\n\r\n",
    "a chunk of line feeds": b"0\n\n",
    "a chunk beyond 64 bits": b"10000000000000000\r\n\r\n",
    "a hexadecimal prefix": b"0x0\r\n\r\n",
    "a trailer that names the model": b"0\r\nechoplane-model: paced\r\n\r\n",
    "no chunk": b"\r\n\r\n",
}


def send_all(target: KeyedTarget, contents: Iterable[bytes]) -> list[bytes]:
    """Send each on a connection of its own, several at once as some are left waiting; return what came."""
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda content: target.door.send(content, 3.0), contents))


def begun(target: KeyedTarget) -> int:
    """Return how many chats reached the engine."""
    return d.counts(target.door)["begun"]


@pytest.mark.parametrize("key", ["other", ""])
def test_a_request_hidden_in_another(target: KeyedTarget, key: str) -> None:
    """Whatever is unclear of where a body ends: the engine sees nothing of a caller who may not call it, and no answer is 200."""
    mine = target.other if key else wrong_key(1)
    before = begun(target)
    sent = {
        f"{what}, {len(body)}": outer(*headers, body=body + hidden(mine), key=mine)
        for what, headers in AMBIGUOUS.items()
        for body in (b"0\r\n\r\n", b"")
    }
    sent |= {what: outer(CHUNKED, body=chunk + hidden(mine), key=mine) for what, chunk in CHUNKS.items()}
    for what, said in zip(sent, send_all(target, sent.values()), strict=True):
        assert b" 200 " not in said, (what, said[:300])
    assert begun(target) == before
    assert target.chat() == 200


def test_no_key_is_borrowed(target: KeyedTarget) -> None:
    """What hides behind an honest caller's request on the same connection is judged by its own key, not by the one before it."""
    before = begun(target)
    honest = outer(f"content-length: {len(d.chat_body())}", body=d.chat_body(), key=target.honest)
    for mine, status in ((target.other, b" 403 "), (wrong_key(2), b" 401 ")):
        said = target.door.send(honest + hidden(mine), 5.0)
        assert said.count(b"HTTP/1.1 200 ") == 1, said
        assert b"HTTP/1.1" + status in said, said
    assert begun(target) == before + 2


PATHS = (
    "/a%2F..%2Fv1/models",
    "/a%2f..%2fv1/models",
    "/a%5C..%5Cv1/models",
    "/health/..%2Fv1/models",
    "/health/%2e%2e/v1/models",
    "/health/..;/v1/models",
    "/health/.%2e/v1/models",
    "/health%2F..%2Fv1%2Fmodels",
    "/health/../v1/models",
    "/health//../v1/models",
    "//v1/models",
    "/health?/../v1/models",
    "/health%23/../v1/models",
    "/health\\..\\v1\\models",
    "http://door/v1/models",
    "/v1/models%00/health",
    "/v1/models%0d%0ax-api-key: a",
)


def test_paths_that_lead_elsewhere(target: KeyedTarget) -> None:
    """`/health` asks for no key, and no spelling of it leads to what does."""
    asked = [f"GET {path} HTTP/1.1\r\nhost: door\r\nconnection: close\r\n\r\n".encode() for path in PATHS]
    for path, said in zip(PATHS, send_all(target, asked), strict=True):
        assert b'"object"' not in said, (path, said)
        if said.startswith(b"HTTP/1.1 200 "):
            assert b'"state"' in said, (path, said)
        else:
            assert said.split(b" ", 2)[1] in {b"400", b"401", b"404"}, (path, said)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Write an HTTP/2 frame (https://www.rfc-editor.org/rfc/rfc9113#section-4.1)."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name: bytes, value: bytes) -> bytes:
    """Write a header as HPACK's literal without a table (https://www.rfc-editor.org/rfc/rfc7541#section-6.2.2)."""
    assert max(len(name), len(value)) < 127, "one byte tells the length"
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def over_http2(*headers: tuple[bytes, bytes], body: bytes) -> bytes:
    """Write a connection with one request."""
    settings, end_headers, end_stream = 4, 4, 1
    block = b"".join(literal(*each) for each in headers)
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(settings, 0, 0, b"")
    return preface + frame(1, end_headers, 1, block) + frame(0, end_stream, 1, body)


def test_a_request_hidden_in_http2(target: KeyedTarget) -> None:
    """Headers of HTTP/1.1 in HTTP/2, or with a line's end within, reach no engine: there a body has one length only."""
    before = begun(target)
    usual = [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"door"), (b":path", CHAT.encode())]
    usual += [(b"content-type", b"application/json"), (b"authorization", f"Bearer {target.other}".encode())]
    body = d.chat_body()
    for what, more in {
        "an encoding": [(b"transfer-encoding", b"chunked")],
        "a wrong length": [(b"content-length", b"0")],
        "two lengths": [(b"content-length", b"0"), (b"content-length", str(len(body)).encode())],
        "a line's end in a value": [(b"x", b"y\r\ntransfer-encoding: chunked")],
        "a line's end in a name": [(b"x\r\necho", b"y")],
        "a second path": [(b":path", b"/health")],
        "a header of a connection": [(b"connection", b"authorization")],
        "upper case": [(b"Echoplane-Model", b"paced")],
    }.items():
        said = target.door.send(over_http2(*usual, *more, body=b"0\r\n\r\n" + hidden(target.other)), 1.0)
        assert b'"choices"' not in said, (what, said)
    assert begun(target) == before
    assert target.chat() == 200
    honest = [*usual[:-1], (b"authorization", f"Bearer {target.honest}".encode())]
    assert b'"choices"' in target.door.send(over_http2(*honest, body=body), 2.0), "the frames themselves are right"
