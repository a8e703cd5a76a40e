"""What the real Envoy tells of its requests, beside what was really sent: counts, status classes, bytes, and nothing that waits."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from envoy.service.accesslog.v3 import als_pb2

from echoplaned.ports.usage import UsageKey, UsageReport, UsageTotals
from echoplaned.xds.access_logs import AccessLogService
from echoplaned.xds.conversations import ConversationLedger
from echoplaned.xds.usage_ledger import UsageLedger
from tests.gateway.gateway_stage import CHAT, TOTAL, GatewayStage, gateway_stage

pytestmark = pytest.mark.system

LATE_S = 20.0
"""Envoy gathers for a second; the rest is for a busy machine."""


async def until(
    ledger: UsageLedger, there: Callable[[dict[UsageKey, UsageTotals]], bool]
) -> dict[UsageKey, UsageTotals]:
    """Wait until what was told is enough."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LATE_S):
            while not there(dict(ledger.report().usages)):
                await asyncio.sleep(0.05)
    return dict(ledger.report().usages)


def requests_in(usages: dict[UsageKey, UsageTotals]) -> int:
    """Return how many requests were told of."""
    return sum(each.requests for each in usages.values())


async def test_counts_are_the_calls_made() -> None:
    """Every request once, by version and status class, with the bytes of its body and of its answer, streamed ones too."""
    ledger = UsageLedger(UsageReport(0.0))
    async with gateway_stage(
        handlers=(AccessLogService(ledger, ConversationLedger(time.time)).handler(),), usage=True
    ) as stage:
        answers = [await stage.chat() for _ in range(7)]
        await stage.shift(TOTAL)
        answers += [await stage.chat() for _ in range(3)]
        assert {answer.status for answer in answers} == {200}
        stage.engines[1].failing = True
        assert (await stage.chat()).status == 500
        refused = [await stage.chat("nobody") for _ in range(4)]
        assert {answer.status for answer in refused} == {404}
        forged = await stage.ask("POST", CHAT, {"model": "nobody"}, {"x-echoplane-client": "admin"})
        assert forged.status == 404
        stage.engines[1].gate.release()
        stage.engines[1].gate.release()
        streamed = await stage.ask("POST", CHAT, {"model": "m", "stream": True})
        usages = await until(ledger, lambda found: requests_in(found) >= 17)
        first, second, nobody = (usages[UsageKey("", *key)] for key in (("m", "v1"), ("m", "v2"), ("", "")))
        assert usages.keys() == {UsageKey("", "m", "v1"), UsageKey("", "m", "v2"), UsageKey()}, (
            "no client that nobody proved"
        )
        assert (first.ok, first.requests) == (7, 7)
        assert (second.ok, second.server_errors, second.requests) == (4, 1, 5)
        assert (nobody.client_errors, nobody.requests) == (5, 5)
        assert first.sent_bytes == sum(len(answer.body) for answer in answers[:7])
        assert first.received_bytes == 7 * len(b'{"model": "m"}')
        failed = len(b'{"model": "v2"}')
        assert second.sent_bytes == sum(len(a.body) for a in answers[7:]) + failed + len(streamed.body)
        assert nobody.sent_bytes == sum(len(answer.body) for answer in (*refused, forged))
        assert 0 < first.duration_s < 60


async def test_a_caller_that_leaves_is_no_error() -> None:
    """A stream whose caller went away counts apart, with the time that it took and the bytes that left."""
    ledger = UsageLedger(UsageReport(0.0))
    async with gateway_stage(
        handlers=(AccessLogService(ledger, ConversationLedger(time.time)).handler(),), usage=True
    ) as stage:
        await asyncio.to_thread(leave_in_a_stream, stage, 1.5)
        for _ in range(2):
            stage.engines[0].gate.release()  # else the engine would wait for ever
        usages = await until(ledger, lambda found: requests_in(found) >= 1)
        left = usages[UsageKey("", "m", "v1")]
        assert (left.unanswered, left.requests) == (1, 1)
        assert left.duration_s >= 1.5
        assert left.sent_bytes > 0


def leave_in_a_stream(stage: GatewayStage, seconds: float) -> None:
    """Ask for a stream, take its begin, and go."""
    host, _, port = stage.options.listening.rpartition(":")
    body = b'{"model": "m", "stream": true}'
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=20) as caller:
        caller.sendall(head.encode() + body)
        assert b"200 OK" in caller.recv(4096)
        time.sleep(seconds)


async def test_strange_bytes_keep_nobody_from_being_counted() -> None:
    """Bytes that are no text, in headers that the log carries, and a long path cost nobody else's count."""
    ledger = UsageLedger(UsageReport(0.0))
    async with gateway_stage(
        handlers=(AccessLogService(ledger, ConversationLedger(time.time)).handler(),), usage=True
    ) as stage:
        for head in (
            b"GET /v1/\xff\xfe HTTP/1.1",
            b"GET /v1/" + b"x" * 50_000 + b" HTTP/1.1",
            b"GET /v1/models HTTP/1.1",
        ):
            await asyncio.to_thread(
                send_raw, stage, head + b"\r\nhost: x\r\nuser-agent: \xff\xc3(\r\nreferer: \xed\xa0\x80\r\n\r\n"
            )
        assert (await stage.chat()).status == 200
        usages = await until(ledger, lambda found: UsageKey("", "m", "v1") in found)
        assert usages[UsageKey("", "m", "v1")].ok == 1
        assert usages[UsageKey()].client_errors == 3


def send_raw(stage: GatewayStage, request: bytes) -> None:
    """Send bytes as they are, and wait for an answer."""
    host, _, port = stage.options.listening.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as caller:
        caller.sendall(request)
        assert caller.recv(4096).startswith(b"HTTP/1.1 4")


class DeafService(AccessLogService):
    """Takes a stream and reads nothing of it."""

    def __init__(self) -> None:
        super().__init__(UsageLedger(UsageReport(0.0)), ConversationLedger(time.time))
        self.heard, self.released = asyncio.Event(), asyncio.Event()

    async def _stream(self, requests: Any, context: Any) -> als_pb2.StreamAccessLogsResponse:
        self.heard.set()
        await self.released.wait()
        return als_pb2.StreamAccessLogsResponse()


async def test_nobody_waits_for_a_daemon_that_reads_nothing() -> None:
    """A daemon that takes the stream of access logs and never reads on holds up no request."""
    deaf = DeafService()
    async with gateway_stage(handlers=(deaf.handler(),), usage=True) as stage:
        assert {(await stage.chat()).status for _ in range(20)} == {200}
        await asyncio.wait_for(deaf.heard.wait(), LATE_S)
        assert {(await stage.chat()).status for _ in range(200)} == {200}
        deaf.released.set()


async def test_nobody_waits_for_a_daemon_without_the_service() -> None:
    """Nor does one that knows no access logs, as an older one would."""
    async with gateway_stage(usage=True) as stage:
        assert {(await stage.chat()).status for _ in range(100)} == {200}
