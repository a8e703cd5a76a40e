"""What the listener bounds by time, in the real Envoy: bodies that come drop by drop, while streams of answers go on."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from tests.gateway.gateway_stage import CHAT, gateway_stage

pytestmark = pytest.mark.system


async def test_large_headers() -> None:
    """More than 16 KiB of them are the gateway's 431; what is less goes on."""
    async with gateway_stage() as stage:
        for kib, status in ((14, 200), (17, 431)):
            answer = await stage.ask("POST", CHAT, {"model": "m"}, {"x-large": "x" * (kib << 10)})
            assert answer.status == status, kib


async def test_bodies_drop_by_drop() -> None:
    """They end with 408 in the caller's shape and reach no engine; a stream that has begun to be answered takes as long as it takes."""
    async with gateway_stage(request_timeout_s=2.0) as stage:
        asking = asyncio.create_task(stage.ask("POST", CHAT, {"model": "m", "stream": True}))
        while stage.engines[0].calls == 0:
            await asyncio.sleep(0.02)
        host, _, port = stage.options.listening.rpartition(":")
        for path, shape in ((CHAT, "error"), ("/v2/models/m/infer", "error"), ("/elsewhere", "code")):
            reader, writer = await asyncio.open_connection(host, int(port))
            head = (
                f"POST {path} HTTP/1.1\r\nhost: door\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n"
            )
            writer.write(head.encode())
            began = time.monotonic()
            reading = asyncio.create_task(reader.readuntil(b"}"))
            while not reading.done() and time.monotonic() - began < 30:
                writer.write(b" ")
                await asyncio.sleep(0.2)
            answer = await reading
            writer.close()
            status, body = answer.split(b" ", 2)[1], answer.partition(b"\r\n\r\n")[2]
            assert status in {b"408", b"404"}, answer
            assert f'"{shape}"'.encode() in body, answer
            assert time.monotonic() - began < 20
        assert stage.engines[0].calls == 1
        for _ in range(2):
            stage.engines[0].gate.release()
        stream = await asking
        assert (stream.status, len([json.loads(each[6:]) for each in stream.body.decode().split("\n\n") if each])) == (
            200,
            3,
        )
