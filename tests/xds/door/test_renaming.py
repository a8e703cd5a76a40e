"""Bodies that name a model by an alias, in the real Envoy: the engine reads its own name, and every other byte as it was sent."""

from __future__ import annotations

import json

import pytest

from tests.gateway.gateway_stage import CHAT, TOTAL, GatewayStage, gateway_stage

pytestmark = pytest.mark.system

ALIAS = "Org/Model-7B"


async def seen(stage: GatewayStage, body: bytes) -> bytes:
    """Ask, and return the body that the engine read; its length is what the header said."""
    assert (await stage.ask("POST", CHAT, body)).status == 200
    assert int(stage.engines[0].headers["content-length"]) == len(stage.engines[0].body)
    return stage.engines[0].body


async def test_an_alias_becomes_the_id() -> None:
    """Wherever the field stands and however it is spaced; numbers, escapes, and the same words elsewhere stay, byte for byte."""
    async with gateway_stage() as stage:
        await stage.shift(0, aliases=(ALIAS, "a"))
        texts = (
            '{"model":"Org/Model-7B"}',
            '{"model":"Org\\/Model-7B"}',
            '{"seed": 1234567890123456789, "top_p": 1.0, "model" : "Org/Model-7B", "n":1e0}',
            '{"x":{"model":"Org/Model-7B"},"a":["model","}\\"{","\\\\"],"model":\n"Org/Model-7B","t":"\\u00e9 {[\\" model"}',
        )
        for text in texts:
            wanted = text.replace("Org\\/", "Org/")
            before, _, after = wanted.rpartition('"Org/Model-7B"')
            read = await seen(stage, text.encode())
            assert read == f'{before}"m"{after}'.encode(), text
            assert json.loads(read)["model"] == "m"
        assert await seen(stage, b'{"model":"a"}') == b'{"model":"m"}'
        assert stage.engines[0].headers["echoplane-model"] == "a"
        for slashes in range(4):
            hidden = b'{"y":"' + b"\\\\" * slashes + b'\\"","x":"\\\\","model":"a"}'
            assert await seen(stage, hidden) == hidden.replace(b'"a"}', b'"m"}')
        slashes_alone = b'{"y":"' + b"\\\\" * (8_000_000 - 20) + b'","model":"a"}'
        assert await seen(stage, slashes_alone) == slashes_alone.replace(b'"a"}', b'"m"}')
        large = b'{"y":"' + b"z" * (8 << 20) + b'","model":"a"}'
        assert await seen(stage, large) == large.replace(b'"a"}', b'"m"}')


async def test_ids_stay_as_they_are() -> None:
    """A request by id is passed on untouched, and so is one whose name stands behind more than is looked at; streams go on as before."""
    async with gateway_stage() as stage:
        await stage.shift(0, aliases=("a",))
        by_id = b'{"messages": [{"model":"a"}], "model": "m"}'
        assert await seen(stage, by_id) == by_id
        late = b'{"y":[' + b"[[[[[[[[[[]]]]]]]]]]," * 30_000 + b'0],"model":"a"}'
        assert await seen(stage, late) == late
        await stage.shift(TOTAL, aliases=("a",))
        for _ in range(2):
            stage.engines[1].gate.release()
        stream = await stage.ask("POST", CHAT, {"stream": True, "model": "a"})
        assert (stream.status, stream.body.count(b"data:"), json.loads(stage.engines[1].body)["model"]) == (200, 3, "m")
