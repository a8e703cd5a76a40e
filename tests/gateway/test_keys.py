"""Keys in the real Envoy, told by the control plane alone: before bodies, after the model is known, and without a drained connection."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc
import grpc.aio
import pytest

from echoplane.channels import DIRECT_OPTIONS
from echoplane.inference import grpc_service_pb2 as oip
from echoplane.inference import grpc_service_pb2_grpc as oip_grpc
from echoplaned.ports.door_clients import DoorClient, DoorClients
from tests.gateway.gateway_stage import CHAT, GatewayStage, gateway_stage

ALL = DoorClient("all", "ep_all_k")
MINE = DoorClient("mine", "ep_mine_k", models=("m",))
OTHER = DoorClient("other", "ep_other_k", models=("other",))
READER = DoorClient("reader", "ep_reader_k", may_infer=False)
FEW = DoorClient("few", "ep_few_k", requests_per_minute=30)
LIKE = DoorClient("like", "ep_like_k", requests_per_minute=30)
CLIENTS = DoorClients((ALL, FEW, MINE, OTHER, READER), required=True)


async def status(stage: GatewayStage, key: str, body: object = None) -> int:
    """Ask for the model m with a key; return what the status is."""
    answer = await stage.ask("POST", CHAT, {"model": "m"} if body is None else body, {"x-api-key": key} if key else {})
    return answer.status


async def test_who_may_reach_an_engine() -> None:
    """Keys that are for the model reach it, by id and alias; others get 401 or 403, and the engine sees nothing of them."""
    async with gateway_stage(clients=CLIENTS) as stage:
        for key, expected in (("", 401), ("ep_no_k", 401), ("ep_other_k", 403), ("ep_reader_k", 403), ("all", 401)):
            assert await status(stage, key) == expected, key
        assert stage.engines[0].calls == 0
        for key in ("ep_all_k", "ep_mine_k"):
            assert await status(stage, key) == 200, key
        seen = stage.engines[0].headers
        assert seen["x-echoplane-client"] == "mine"
        assert not [
            name for name, value in seen.items() if "ep_mine_k" in value or name in {"authorization", "x-api-key"}
        ]
        assert await status(stage, "ep_mine_k", {"model": "Org/M"}) == 403
        await stage.shift(0, aliases=("Org/M",))
        # The routes are acknowledged; the scopes were sent before them, and may be taken up a moment later.
        async with asyncio.timeout(20):
            while await status(stage, "ep_mine_k", {"model": "Org/M"}) != 200:
                await asyncio.sleep(0.01)
        for sent in ("Bearer ep_all_k", "bearer  ep_all_k"):
            assert (await stage.chat(authorization=sent)).status == 200, sent
        for sent in ("ep_all_k", "Basic ep_all_k", "Bearer ep_all_k, Bearer ep_mine_k", "Bearer ep_all_k x"):
            assert (await stage.chat(authorization=sent)).status == 401, sent
        assert (await stage.chat(authorization="Bearer other", **{"x-api-key": "ep_all_k"})).status == 200
        async with asyncio.timeout(20):  # Envoy writes once a second
            while not (lines := [line for line in stage.access_lines() if line["client"]]):
                await asyncio.sleep(0.1)
        assert {line["client"] for line in lines} <= {"all", "mine", "other", "reader"}


async def test_strangers_bodies_are_not_held() -> None:
    """A stranger's answer comes before any of the body was sent: the key is looked at first."""
    async with gateway_stage(clients=CLIENTS) as stage:
        host, _, port = stage.options.listening.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"POST {CHAT} HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\ncontent-length: {8 << 20}\r\n\r\n"
        writer.write(head.encode())
        async with asyncio.timeout(20):
            assert b" 401 " in await reader.readline()
        writer.close()


async def test_a_change_cuts_no_stream() -> None:
    """A stream that has begun goes on to its end after its key was revoked, and new requests are refused at once."""
    async with gateway_stage(clients=CLIENTS) as stage:
        body = {"model": "m", "stream": True}
        stream = asyncio.create_task(stage.ask("POST", CHAT, body, {"x-api-key": "ep_all_k"}))
        async with asyncio.timeout(20):
            while not stage.engines[0].calls:
                await asyncio.sleep(0.01)
        stage.publisher.publish_clients(DoorClients((MINE,), required=True))
        await stage.publisher.wait_for_clients()
        assert await status(stage, "ep_all_k") == 401
        assert await status(stage, "ep_mine_k") == 200
        assert not stream.done()
        for _ in range(8):
            stage.engines[0].gate.release()
        answer = await stream
        assert answer.status == 200
        assert answer.body.count(b"data: ") >= 3


async def test_limits_are_a_keys_own() -> None:
    """Above its limit a key is told when to come back; a change of other keys does not fill its bucket again."""
    async with gateway_stage(clients=CLIENTS) as stage:
        assert [await status(stage, "ep_few_k") for _ in range(31)].count(429) in {0, 1}
        while await status(stage, "ep_few_k") != 429:
            pass
        answer = await stage.chat(**{"x-api-key": "ep_few_k"})
        if answer.status == 429:
            assert 1 <= int(answer.headers["retry-after"]) <= 2
        stage.publisher.publish_clients(DoorClients((FEW, MINE), required=True))
        await stage.publisher.wait_for_clients()
        assert await status(stage, "ep_all_k") == 401
        found = [await status(stage, "ep_few_k") for _ in range(10)]
        assert found.count(429) > 5, "the bucket is as empty as before"
        assert await status(stage, "ep_mine_k") == 200


async def grpc_headers(stage: GatewayStage, key: str) -> tuple[grpc.StatusCode, set[str]]:
    """Ask for the model m by OIP over gRPC; return the status and the names of all headers and trailers."""
    async with grpc.aio.insecure_channel(stage.options.listening, DIRECT_OPTIONS) as channel:
        metadata = (("x-api-key", key),) if key else ()
        # The stub's types are the synchronous ones.
        call: Any = oip_grpc.GRPCInferenceServiceStub(channel).ModelInfer(
            oip.ModelInferRequest(model_name="m"), metadata=metadata, timeout=20
        )
        code = await call.code()
        found = [*(await call.initial_metadata() or ()), *(await call.trailing_metadata() or ())]
        return code, {name for name, _ in found}


PATHS = (CHAT, "/v1/messages", "/v2/models/m/infer")
VERSION = "x-model-version"
CODES = {
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
}


async def test_refusals_do_not_tell_the_version() -> None:
    """Nobody who was not let in learns which version would have answered, in any protocol; everybody else does, also of a failure."""
    once = DoorClient("once", "ep_once_k", requests_per_minute=1)
    async with gateway_stage(clients=DoorClients((ALL, once, OTHER, READER), required=True)) as stage:
        for path in PATHS:
            answer = await stage.ask("POST", path, {"model": "m"}, {"x-api-key": ALL.key})
            assert (answer.status, answer.headers[VERSION]) == (200, "v1"), path
        code, names = await grpc_headers(stage, ALL.key)
        assert (code, VERSION in names) == (grpc.StatusCode.UNIMPLEMENTED, True), "the engine answered that"
        while await status(stage, once.key) != 429:
            pass
        refused = {"": 401, "ep_no_k": 401, OTHER.key: 403, READER.key: 403, once.key: 429}
        for key, expected in refused.items():
            for path in PATHS:
                answer = await stage.ask("POST", path, {"model": "m"}, {"x-api-key": key} if key else {})
                assert answer.status == expected, (path, key)
                told = [name for name in answer.headers if name == VERSION or name.startswith("x-echoplane")]
                assert not told, (path, key)
                assert b"v1" not in answer.body
            code, names = await grpc_headers(stage, key)
            assert code is CODES[expected], key
            assert VERSION not in names, key
            assert not [name for name in names if name.startswith("x-echoplane")], key
        stage.engines[0].failing = True
        answer = await stage.chat(**{"x-api-key": ALL.key})
        assert (answer.status, answer.headers[VERSION]) == (500, "v1")


async def used_up(stage: GatewayStage, key: str) -> None:
    """Ask until a key's bucket is empty."""
    async with asyncio.timeout(30):
        while await status(stage, key) != 429:
            pass


async def is_empty(stage: GatewayStage, key: str) -> bool:
    """Return whether a bucket of 30 a minute is as empty as it was: at most one token comes in two seconds."""
    return [await status(stage, key) for _ in range(10)].count(429) > 5


async def test_keys_with_a_limit_come_and_go() -> None:
    """One that is made has a bucket of its own, full, and one that is revoked takes its own along; the other ones' stay as they are."""
    async with gateway_stage(clients=CLIENTS) as stage:
        await used_up(stage, FEW.key)
        stage.publisher.publish_clients(DoorClients((ALL, FEW, LIKE), required=True, limits=(30,)))
        async with asyncio.timeout(20):
            while await status(stage, LIKE.key) != 200:
                pass
        assert await is_empty(stage, FEW.key), "after one like it was made"
        assert await status(stage, LIKE.key) == 200, "in a bucket of its own"
        seen = stage.engines[0].headers
        assert (seen["x-echoplane-client"], "x-echoplane-limit" in seen) == ("like", False)
        await used_up(stage, LIKE.key)
        stage.publisher.publish_clients(DoorClients((ALL, FEW), required=True, limits=(30,)))
        async with asyncio.timeout(20):
            while await status(stage, LIKE.key) != 401:
                pass
        assert await is_empty(stage, FEW.key), "after one like it was revoked"
        stage.publisher.publish_clients(DoorClients((ALL, LIKE), required=True, limits=(30,)))
        async with asyncio.timeout(20):
            while await status(stage, FEW.key) != 401:
                pass
        assert await is_empty(stage, LIKE.key), "it was away for a moment only"


async def test_hundreds_of_keys_of_one_limit_have_a_bucket_each() -> None:
    """No caller's bucket is put out by many others': a key that is used up stays so."""
    many = tuple(DoorClient(f"c{n:03}", f"ep_c{n:03}_k", requests_per_minute=2) for n in range(300))
    async with gateway_stage(clients=DoorClients(many, required=True)) as stage:
        first = many[0].key
        began = time.monotonic()
        while await status(stage, first) != 429:
            assert time.monotonic() - began < 20
        for each in many[1:]:
            assert await status(stage, each.key) == 200
        # Thirty seconds bring one token.
        found = [await status(stage, first) for _ in range(4)]
        assert found.count(429) >= 3 - int((time.monotonic() - began) / 30), found


async def test_without_required_keys_a_key_counts_all_the_same() -> None:
    """Who comes without one, or with another service's, is anonymous; ours is looked at."""
    async with gateway_stage(clients=DoorClients((MINE, OTHER))) as stage:
        for headers, expected, client in (
            ({}, 200, "anonymous"),
            ({"authorization": "Bearer sk-elsewhere"}, 200, "anonymous"),
            ({"x-api-key": "none"}, 200, "anonymous"),
            ({"x-api-key": "ep_mine_k"}, 200, "mine"),
        ):
            assert (await stage.chat(**headers)).status == expected, headers
            assert stage.engines[0].headers["x-echoplane-client"] == client
        calls = stage.engines[0].calls
        assert (await stage.chat(**{"x-api-key": "ep_other_k"})).status == 403
        assert (await stage.chat(**{"x-api-key": "ep_revoked_k"})).status == 401
        assert stage.engines[0].calls == calls


@pytest.mark.long
async def test_thousands_of_keys_cost_no_more() -> None:
    """Ten thousand keys, each for ten models, are taken in one push, and the last one is found as the first."""
    models = tuple(f"m{number}" for number in range(9))
    many = tuple(
        DoorClient(f"c{number}", f"ep_c{number}_k", models=(*models, "m"), requests_per_minute=1_000)
        for number in range(10_000)
    )
    async with gateway_stage(clients=CLIENTS) as stage:
        stage.publisher.publish_clients(DoorClients(many, required=True))
        began = time.monotonic()
        while await status(stage, "ep_c9999_k") != 200:
            assert time.monotonic() - began < 30
        assert await status(stage, "ep_c0_k") == 200
        assert await status(stage, "ep_all_k") == 401
        stats = {each.type.name: each.nacks for each in stage.publisher.stats.by_type}
        assert stats["EXTENSION"] == 0
