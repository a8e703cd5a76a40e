"""gRPC calls that a gRPC server cannot read, in the real Envoy: refused there, or made readable, and none counts as a version's error."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct

import pytest

from echoplane.inference import grpc_service_pb2 as oip
from tests.gateway.gateway_stage import gateway_stage

pytestmark = pytest.mark.system

TE = "te: trailers"


def call(listening: str, name: str, *headers: str, method: str = "POST") -> tuple[str, str, list[str]]:
    """Ask over HTTP/1.1 for a model's readiness; return the status, the message and all lines of the answer's head."""
    message = oip.ModelReadyRequest(name=name).SerializeToString()
    body = b"\0" + struct.pack(">I", len(message)) + message
    lines = [
        f"{method} /inference.GRPCInferenceService/ModelReady HTTP/1.1",
        "host: door",
        "connection: close",
        "content-type: application/grpc",
        f"content-length: {len(body)}",
        *headers,
    ]
    host, _, port = listening.rpartition(":")
    found = b""
    with contextlib.closing(socket.create_connection((host, int(port)), timeout=20.0)) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        while piece := connection.recv(65536):
            found += piece
    text = found.decode("latin-1")
    values = [re.search(rf"\r\ngrpc-{each}: ([^\r]*)", text) for each in ("status", "message")]
    status, said = (each.group(1) if each else "" for each in values)
    return status, said, text.split("\r\n")


READABLE = (
    (),
    ("foo-bin: !!!",),
    ("grpc-tags-bin: !!!", "grpc-trace-bin: !!!"),
    ("endpoint-load-metrics-bin: !!!",),
    ("grpc-previous-rpc-attempts: x",),
    ("grpc-retry-pushback-ms: x",),
    ("grpc-internal-encoding-request: x",),
    ("grpc-status: x", "grpc-message: x"),
    ("f!#$o: x",),
    ("grpc-accept-encoding: bogus",),
    ("grpc-encoding: identity",),
    ("grpc-encoding: gzip",),
    ("grpc-timeout: 20S",),
    ("grpc-timeout: 00000020S",),
    ("grpc-timeout: 99999999H",),
)
UNREADABLE = (
    "grpc-timeout: 0S",
    "grpc-timeout: 00000000H",
    "grpc-timeout: zz",
    "grpc-timeout: -1S",
    "grpc-timeout: 123456789S",
    "grpc-timeout: 5S\r\ngrpc-timeout: 6S",
    "grpc-timeout:",
    "grpc-encoding: bogus",
    "grpc-encoding: gzip\r\ngrpc-encoding: gzip",
)


async def test_headers_of_the_transport() -> None:
    """What only a transport reads goes no further, and what it could not read is the caller's own error: both leave the engine alone."""
    async with gateway_stage() as stage:
        listening = stage.options.listening
        for headers in READABLE:
            _, said, head = await asyncio.to_thread(call, listening, "m", TE, *headers)
            # The engine here has no such method: its own server read the call, and the version is named.
            assert (said, "x-model-version: v1" in head) == ("Method not found!", True), (headers, head)
        for header in UNREADABLE:
            status, said, head = await asyncio.to_thread(call, listening, "m", TE, header)
            assert (status, header.partition(":")[0] in said) == ("3", True), (header, head)
            assert "x-model-version: v1" not in head, header
        for te in ((), ("te: gzip",)):
            assert (await asyncio.to_thread(call, listening, "m", *te))[1] == "Method not found!", te


async def test_calls_are_posts() -> None:
    """Any other method is UNIMPLEMENTED here."""
    async with gateway_stage() as stage:
        for method in ("GET", "PUT", "PATCH", "DELETE", "OPTIONS"):
            status, _, head = await asyncio.to_thread(call, stage.options.listening, "m", TE, method=method)
            assert (status, "x-model-version: v1" in head) == ("12", False), (method, head)
        path = "/inference.GRPCInferenceService/ServerLive"
        assert (await stage.ask("GET", path)).status == 405


async def test_names_write_no_headers() -> None:
    """A name that no model has is repeated in the message where it is printable, and never begins a line of its own."""
    async with gateway_stage() as stage:
        odd = ("nope\r\nx-inj: 1", "no\0pe", "no\npe", "n\x7f", "né", "é" * 100, "模" * 64, "")
        for name in odd:
            status, said, head = await asyncio.to_thread(call, stage.options.listening, name, TE)
            assert (status, "names no model" in said) == ("5", True), (name, head)
            assert not [line for line in head if line.lower().startswith("x-inj")], name
        for name, shown in (("nobody", "nobody"), ("50%", "50%25"), ("x" * 300, "x" * 128)):
            status, said, _ = await asyncio.to_thread(call, stage.options.listening, name, TE)
            assert (status, said) == ("5", f"model '{shown}' does not exist"), name
