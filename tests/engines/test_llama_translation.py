"""What the supervisor makes of llama-server's API: the embedded engine's requests and answers, on the real engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import grpc
import numpy as np
import pytest

from echoplane.inference import grpc_service_pb2 as oip
from echoplane.inference import grpc_service_pb2_grpc as oip_grpc
from echoplane.tensors import Query, build_request, read_answer
from echoplaned.core.endpoints import oip_target
from echoplaned.engines.channels import open_channel
from echoplaned.testing.engine_stage import Stage, Subject, open_stage
from echoplaned.worker_contract.control_key import key_metadata
from tests.engines.llama_parts import CONTEXT, llama_facts, llama_kind, llama_spec

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

PROMPT = "The capital of France is"
FIRST_ID = 504
"""``The``: a text's first token is never scored, and this model adds none of its own."""


@pytest.fixture
async def stage(short_dir: Path) -> AsyncIterator[Stage]:
    """A served model."""
    kind = llama_kind()
    subject = Subject("llama_cpp", kind, llama_spec(kind), llama_facts(), llama_spec(kind), llama_spec(kind))
    async with open_stage(subject, short_dir) as opened:
        await opened.start()
        yield opened


def outputs_of(response: oip.ModelInferResponse) -> dict[str, list[Any]]:
    """Return the outputs as nested lists, by name."""
    return {name: cast("list[Any]", tensor.values) for name, tensor in read_answer(response, "").outputs.items()}


class Caller:
    """Calls the supervisor as any client does; with ``key``, as the daemon does."""

    def __init__(self, target: str, key: str) -> None:
        self._metadata = key_metadata(key)
        self._channel = open_channel(target)
        self.stub = cast("oip_grpc.GRPCInferenceServiceAsyncStub", oip_grpc.GRPCInferenceServiceStub(self._channel))

    async def infer(self, query: Query) -> oip.ModelInferResponse:
        """Make one inference."""
        return await self.stub.ModelInfer(build_request("m", query), timeout=120, metadata=self._metadata)

    async def refused(self, query: Query) -> tuple[grpc.StatusCode, str]:
        """Return how one is refused."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.infer(query)
        return caught.value.code(), caught.value.details() or ""

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close(None)


async def test_the_embedded_engines_requests_are_understood(stage: Stage) -> None:
    """Texts and tokens, batches, streams, scores, limits: one engine for all of it, as its start costs seconds."""
    target = oip_target(stage.ready.endpoints if stage.ready is not None else ())
    daemon, client = Caller(target, stage.engines.control_key_at(target)), Caller(target, "")
    try:
        await _generates(client)
        await _draws_bytes_of_no_character(client)
        await _streams(client)
        await _scores(client, daemon)
        await _refuses(client, daemon)
    finally:
        await daemon.close()
        await client.close()


async def _generates(client: Caller) -> None:
    greedy = {"max_tokens": 5}
    one = outputs_of(await client.infer(Query(texts=[PROMPT], parameters=greedy)))
    assert "Paris" in one["text"][0]
    batch = outputs_of(await client.infer(Query(texts=[PROMPT, "a"], parameters=greedy)))
    assert len(batch["text"]) == 2
    assert batch["token_ids"][0] == one["token_ids"][0]
    drawn = [
        outputs_of(await client.infer(Query(texts=[PROMPT], parameters={"temperature": 1.5, "seed": seed})))["text"]
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


async def _draws_bytes_of_no_character(client: Caller) -> None:
    """Nearly uniform draws hold bytes that are no character, anywhere in the answer."""
    for seed in range(4):
        drawn = outputs_of(
            await client.infer(Query(texts=[PROMPT], parameters={"temperature": 100.0, "seed": seed, "max_tokens": 40}))
        )
        assert drawn["text"][0]
        assert 30 <= len([one for one in drawn["token_ids"][0] if one >= 0]) <= 40
        assert all(one < 0 for one in drawn["logprobs"][0] if one != 0)


async def _streams(client: Caller) -> None:
    request = build_request("m", Query(texts=[PROMPT], parameters={"max_tokens": 5}))
    whole = outputs_of(await client.stub.ModelInfer(request, timeout=120))

    async def requests() -> AsyncIterator[oip.ModelInferRequest]:
        yield request

    responses = [one async for one in client.stub.ModelStreamInfer(requests(), timeout=120)]
    assert not any(one.error_message for one in responses)
    finals = [one.infer_response.parameters["triton_final_response"].bool_param for one in responses]
    assert finals == [*[False] * (len(finals) - 1), True]
    pieces = [outputs_of(one.infer_response) for one in responses]
    assert "".join(one["text"][0] for one in pieces) == whole["text"][0]
    assert [one["token_ids"][0][0] for one in pieces] == whole["token_ids"][0]


async def _scores(client: Caller, daemon: Caller) -> None:
    greedy = outputs_of(await client.infer(Query(texts=[PROMPT], parameters={"max_tokens": 4})))
    prompt = outputs_of(await client.infer(Query(texts=[PROMPT], parameters={"score": True})))["token_ids"][0]
    ids = [FIRST_ID, *prompt, *greedy["token_ids"][0]]
    asked: dict[str, bool | str] = {"score": True, "distributions": "FP32"}
    scored = outputs_of(await daemon.infer(Query(token_ids=[ids], parameters=asked)))
    assert set(scored) == {"token_ids", "logprobs"}
    assert scored["token_ids"][0] == ids[1:]
    told = np.asarray(greedy["logprobs"][0])
    assert np.abs(np.asarray(scored["logprobs"][0])[-len(told) :] - told).max() < 0.05
    # Tokens within a character: what llama-server leaves out is found all the same.
    odd = outputs_of(await client.infer(Query(texts=["x 🙂 日本 é"], parameters={"score": True})))
    values = np.asarray(odd["logprobs"][0])
    assert len(values) > 4
    assert np.isfinite(values).all()
    assert (values < 0).all()


async def _refuses(client: Caller, daemon: Caller) -> None:
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    code, text = await client.refused(Query(token_ids=[[1] * (CONTEXT + 1)]))
    assert (code, f"context_length is {CONTEXT}" in text) == (invalid, True)
    code, text = await client.refused(Query(token_ids=[[1] * 250], parameters={"max_tokens": 20}))
    assert (code, "exceed this version's context_length" in text) == (invalid, True)
    code, text = await client.refused(Query(token_ids=[[10**6]]))
    assert (code, "outside 0.." in text) == (invalid, True)
    code, text = await client.refused(Query(texts=["a"] * 3))
    assert (code, "max_concurrency" in text) == (invalid, True)
    code, _ = await client.refused(Query(texts=["a"], parameters={"score": True, "distributions": "FP32"}))
    assert code is grpc.StatusCode.PERMISSION_DENIED
    code, text = await daemon.refused(Query(texts=["a b"], parameters={"score": True, "requantised": True}))
    assert (code, "INT8" in text) == (invalid, True)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await client.infer(Query(texts=[PROMPT], parameters={"max_tokens": 200}))
