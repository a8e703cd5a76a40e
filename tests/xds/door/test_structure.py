"""Bodies of very many values, in the real Envoy: refused before its parser holds everybody else, while long texts pass."""

from __future__ import annotations

import time

import pytest

from echoplaned.xds.door.structure import MAX_MARKS
from tests.gateway.gateway_stage import CHAT, gateway_stage

pytestmark = pytest.mark.system

LARGE = 16 * 1024 * 1024 - 200
PIECE = 65_536


async def test_many_values() -> None:
    """They are 400 in the caller's shape with the limit, in a fraction of the seconds that reading them would take; no engine is asked."""
    async with gateway_stage() as stage:
        for values in (b"[],", b'{"":0},', b"1,", b'"",', b"[", b'""', b'{"x":'):
            body = b'{"model":"m","x":[' + values * (LARGE // len(values)) + b"1]}"
            began = time.monotonic()
            answer = await stage.ask("POST", CHAT, body)
            assert time.monotonic() - began < 2.5, values
            assert (answer.status, answer.json()["error"]["code"]) == (400, "too_many_values"), values
            assert str(MAX_MARKS) in answer.json()["error"]["message"]
        answer = await stage.ask("POST", "/v1/messages", body)
        assert (answer.status, answer.json()["type"]) == (400, "error")
        assert stage.engines[0].calls == 0


async def test_the_bound_is_exact() -> None:
    """As many marks as the bound pass, one more does not; marks within texts are none."""
    async with gateway_stage() as stage:
        begin, end = b'{"model":"m","x":[', b"1]}"
        others = 5
        for count, status in ((MAX_MARKS - others, 200), (MAX_MARKS - others + 1, 400)):
            assert (await stage.ask("POST", CHAT, begin + b"1," * count + end)).status == status, count
        for marks in (b",", b":", b"[", b"{", b',\\"[', b"\\\\,"):
            body = b'{"x":"' + marks * (4_000_000 // len(marks)) + b'","model":"m"}'
            assert (await stage.ask("POST", CHAT, body)).status == 200, marks


async def test_texts_across_pieces() -> None:
    """Backslashes and quotes hide what they hide wherever a piece of the body ends."""
    async with gateway_stage() as stage:
        for hidden in (b"\\\\", b"\\\\\\\\", b'\\"', b'\\\\\\"', b'\\\\\\\\\\"\\"'):
            for before in range(len(hidden) + 3):
                begin = b'{"a":"'
                text = b"y" * (PIECE - len(begin) - before) + hidden
                body = begin + text + b'","b":"' + b"," * (MAX_MARKS + 10) + b'","model":"m"}'
                assert (await stage.ask("POST", CHAT, body)).status == 200, (hidden, before)
                body = begin + text + b'","model":"m","b":[' + b"1," * MAX_MARKS + b"1]}"
                assert (await stage.ask("POST", CHAT, body)).status == 400, (hidden, before)


async def test_tensors_are_not_counted() -> None:
    """Bodies of `/v2/` are the engine's to bound: the path names the model, and nothing here reads them."""
    async with gateway_stage() as stage:
        body = b'{"inputs":[{"data":[' + b"0.5," * (MAX_MARKS * 2) + b"1]}]}"
        assert (await stage.ask("POST", "/v2/models/m/infer", body)).status == 200
        assert stage.engines[0].body == body
