"""Start-up probes against an engine of the test's own."""

# ruff: noqa: N802 - the methods have the names of the service
from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import grpc
import pytest

from echoplane.inference import grpc_service_pb2 as oip
from echoplane.inference import grpc_service_pb2_grpc as oip_grpc
from echoplaned.engines.channels import EngineChannel, open_channel
from echoplaned.engines.probing import REPEATED, ProbeFailedError, probe_all
from echoplaned.worker_contract.golden import GOLDEN_TEXTS, PROBE_MARK
from tests.engines.engine_bench import KEY, facts

COUNT = len(GOLDEN_TEXTS)
SENT = COUNT + len(REPEATED)
FACTS = facts(width=1)


if TYPE_CHECKING:  # the stubs call all six methods abstract; the generated code does not
    _Servicer = object
else:
    _Servicer = oip_grpc.GRPCInferenceServiceServicer


class Engine(_Servicer):
    """Answers with one number, which ``number`` gives for the n-th call; a call waits until ``together`` of them are here."""

    def __init__(self, number: Callable[[int], float], together: int = 1) -> None:
        self.number = number
        self.texts: list[bytes] = []
        self.marks: set[bool] = set()
        self.ended = 0
        self._full = asyncio.Event()
        self._together = together

    async def ModelInfer(
        self, request: oip.ModelInferRequest, context: grpc.aio.ServicerContext[object, object]
    ) -> oip.ModelInferResponse:
        """Answer a probe."""
        call = len(self.texts)
        self.texts.append(request.raw_input_contents[0])
        self.marks.add(PROBE_MARK in cast(Any, context.invocation_metadata()))
        if len(self.texts) >= self._together:
            self._full.set()
        await self._full.wait()
        self.ended += 1
        response = oip.ModelInferResponse(raw_output_contents=[struct.pack("<f", self.number(call))])
        response.outputs.add(name="embedding", datatype="FP32", shape=[1, 1])
        return response


@asynccontextmanager
async def channel_to(engine: Engine) -> AsyncIterator[grpc.aio.Channel]:
    """Serve an engine and yield a channel to it."""
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    oip_grpc.add_GRPCInferenceServiceServicer_to_server(cast(Any, engine), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with open_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(None)


async def test_every_prompt_goes_out_some_twice_and_all_at_once() -> None:
    """No probe waits for another one's answer; each is announced before it leaves, and carries the probes' mark."""
    engine = Engine(lambda call: 0.5 + 1e-4 * call, together=SENT)
    announced: list[int] = []
    async with channel_to(engine) as channel:
        count = await probe_all(EngineChannel(channel), KEY.version, FACTS, lambda: announced.append(len(engine.texts)))
    assert count == COUNT
    assert announced == [0] * SENT
    assert len(set(engine.texts)) == COUNT
    assert len(engine.texts) == SENT
    assert max(engine.texts.count(text) for text in engine.texts) == 2
    assert engine.marks == {True}


async def test_the_same_answer_to_every_text_fails() -> None:
    """Zeros, or any other vector: the texts differ, so an engine that read them answers differently."""
    for number in (0.0, 0.5):
        async with channel_to(Engine(lambda _, number=number: number)) as channel:  # type: ignore[misc] # a default
            with pytest.raises(ProbeFailedError, match="all 12 golden prompts were answered alike"):
                await probe_all(EngineChannel(channel), KEY.version, FACTS, lambda: None)


async def test_another_answer_the_second_time_fails() -> None:
    """Rounding passes; an answer that differs by more than that does not."""
    async with channel_to(Engine(lambda call: 0.5 + 1e-3 * call / COUNT)) as channel:
        assert await probe_all(EngineChannel(channel), KEY.version, FACTS, lambda: None) == COUNT
    async with channel_to(Engine(float)) as channel:
        with pytest.raises(ProbeFailedError, match="answered differently the second time"):
            await probe_all(EngineChannel(channel), KEY.version, FACTS, lambda: None)


async def test_a_failed_probe_leaves_none_behind() -> None:
    """What is not finite fails the probes, and not before every call beside it has ended."""
    engine = Engine(lambda call: float("nan") if call == 0 else 0.5, together=SENT)
    async with channel_to(engine) as channel:
        with pytest.raises(ProbeFailedError, match="NaN or an infinity"):
            await probe_all(EngineChannel(channel), KEY.version, FACTS, lambda: None)
        assert engine.ended == SENT
