"""What the real Envoy tells of conversations: by the name that it keeps them at a version by, whatever became of that on the way."""

from __future__ import annotations

import asyncio
import time

import pytest

from echoplaned.core.ids import VersionKey
from echoplaned.ports.conversations import Repeated
from echoplaned.ports.request_counts import RequestCounts
from echoplaned.ports.usage import UsageReport
from echoplaned.xds.access_logs import AccessLogService
from echoplaned.xds.conversations import ConversationLedger
from echoplaned.xds.usage_ledger import UsageLedger
from tests.gateway.gateway_stage import CHAT, TOTAL, gateway_stage

pytestmark = pytest.mark.system

V1, V2 = VersionKey("m", "v1"), VersionKey("m", "v2")
LATE_S = 20.0
"""Envoy gathers for a second; the rest is for a busy machine."""


async def test_conversations_are_told_apart() -> None:
    """By the header, else by the body's user, which no engine sees as a header; requests of none are none of any."""
    ledger, usage = ConversationLedger(time.time), UsageLedger(UsageReport(0.0))
    ledger.begin_rollout("m")
    async with gateway_stage(handlers=(AccessLogService(usage, ledger).handler(),), usage=True) as stage:

        async def ask(user: str = "", **headers: str) -> int:
            body = {"model": "m", "user": user} if user else {"model": "m"}
            return (
                await stage.ask("POST", CHAT, body, {name.replace("_", "-"): said for name, said in headers.items()})
            ).status

        for _ in range(3):
            assert await ask(x_conversation_id="a") == 200
        for _ in range(3):
            assert await ask(user="b") == 200
            assert "x-echoplane-conversation" not in stage.engines[0].headers
        assert await ask(user="b", x_conversation_id="a") == 200
        for _ in range(3):
            assert await ask(user="c" * 8193) == 200  # longer than what Envoy keeps: nobody's
        for _ in range(4):
            assert await ask() == 200
        stage.engines[1].failing = True
        await stage.shift(TOTAL)
        assert [await ask(user="b") for _ in range(3)] == [500, 500, 500]
        told = {V1: Repeated(RequestCounts(ok=5)), V2: Repeated(RequestCounts(server_errors=2))}
        async with asyncio.timeout(LATE_S):
            while any(ledger.repeated(version) != counts for version, counts in told.items()):
                await asyncio.sleep(0.05)
        assert ledger.has_conversations("m")
