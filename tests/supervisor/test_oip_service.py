"""Inference in front of a foreign engine: what one connection may have at once, and what its values cost the others."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
import pytest

from echoplane.channels import DIRECT_OPTIONS
from echoplane.inference import grpc_service_pb2 as oip
from echoplane.inference import grpc_service_pb2_grpc as oip_grpc
from echoplaned.core.facts import Task
from echoplaned.core.ids import InstanceKey, VersionKey
from echoplaned.core.signature import signature_for
from echoplaned.engine_kinds import vllm
from echoplaned.supervisor import oip_service
from echoplaned.supervisor.latencies import Latencies
from echoplaned.supervisor.launching import engine_of
from echoplaned.supervisor.oip_service import Served, TranslatingService
from echoplaned.supervisor.openai import OpenAi
from echoplaned.worker_contract.inference.connection_turns import MAX_UNDER_WAY
from echoplaned.worker_contract.inference.counters import RequestCounters
from echoplaned.worker_contract.inference.idle_streams import IdleStreams
from echoplaned.worker_contract.inference.requests import CheckedRequest
from echoplaned.worker_contract.inference.screened import require_parsed
from echoplaned.worker_contract.inference.screening import Unread
from echoplaned.worker_contract.server import SERVER_OPTIONS
from tests.supervisor.test_http import answer, engine, read_request

CONTEXT = 64
CHOICE = {"text": "x", "finish_reason": "stop", "logprobs": {"token_logprobs": [-1.0]}, "token_ids": [5]}
ANSWER = json.dumps({"choices": [CHOICE]}).encode()
EVENT = b"data: " + ANSWER + b"\n\n"
ENDED_S = 20.0


@dataclass
class Door:
    """A leader's door, and an engine behind it that answers when it is let."""

    service: TranslatingService
    counters: RequestCounters
    asked: list[bytes] = field(default_factory=list)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    address: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Be the engine, for one connection."""
        try:
            while True:
                request = await read_request(reader)
                self.asked.append(request)
                await self.may_answer.wait()
                writer.write(answer(EVENT if b'"stream": true' in request else ANSWER))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def connect(self) -> Any:
        """Return a stub with a connection of its own."""
        options = (*DIRECT_OPTIONS, ("grpc.use_local_subchannel_pool", 1))
        return grpc.aio.insecure_channel(self.address, options)


@asynccontextmanager
async def opened() -> AsyncIterator[Door]:
    """Yield the door of a leader whose engine serves."""
    counters = RequestCounters(time.monotonic)
    door = Door(TranslatingService("k" * 64, counters, Latencies(time.monotonic)), counters)
    server = grpc.aio.server(options=SERVER_OPTIONS)
    door.service.add_to(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    door.address = f"127.0.0.1:{port}"
    where = InstanceKey(VersionKey("m", "v1"), 0)
    try:
        async with engine(door.serve) as http:
            translator = OpenAi(http, engine_of(vllm.KIND), "m", CONTEXT)
            signature = signature_for(Task.GENERATION)
            door.service.served = Served(where, Task.GENERATION, CONTEXT, 8, signature, translator, "vllm")
            yield door
            door.may_answer.set()
            await server.stop(None)
    finally:
        await server.stop(None)


def stub_of(channel: Any) -> Any:
    """Return the protocol's methods over a channel."""
    return oip_grpc.GRPCInferenceServiceStub(channel)


def text_request() -> oip.ModelInferRequest:
    """Return a request to generate."""
    request = oip.ModelInferRequest(model_name="m")
    request.inputs.add(name="text", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"hi")
    return request


async def until(condition: Any) -> None:
    """Wait for something to come true."""
    async with asyncio.timeout(ENDED_S):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_connection_has_its_turns() -> None:
    """Of one with hundreds of calls so many reach the engine as may; another's is there at once; none fails."""
    async with opened() as door, door.connect() as many, door.connect() as one:
        flood = [stub_of(many).ModelInfer(text_request()) for _ in range(2 * MAX_UNDER_WAY)]
        await until(lambda: door.counters.arrivals >= len(flood))
        await until(lambda: len(door.asked) >= MAX_UNDER_WAY)
        other = stub_of(one).ModelInfer(text_request())
        await until(lambda: len(door.asked) > MAX_UNDER_WAY)
        assert len(door.asked) == MAX_UNDER_WAY + 1
        door.may_answer.set()
        await asyncio.gather(other, *flood)
        assert door.counters.ok == len(flood) + 1


async def test_many_values_are_read_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request of a hundred thousand ids, which may be cut: its thread is another one, and what is cut is not kept."""
    threads: list[threading.Thread] = []
    read = CheckedRequest.read

    def noted(checked: CheckedRequest) -> Any:
        threads.append(threading.current_thread())
        return read(checked)

    monkeypatch.setattr(CheckedRequest, "read", noted)
    async with opened() as door, door.connect() as channel:
        door.may_answer.set()
        for columns in (2, CONTEXT * 60):
            request = oip.ModelInferRequest(model_name="m")
            ids = request.inputs.add(name="input_ids", datatype="INT64", shape=[8, columns])
            ids.contents.int64_contents.extend([7] * (8 * columns))
            request.parameters["score"].bool_param = True
            request.parameters["truncate"].bool_param = True
            with pytest.raises(grpc.aio.AioRpcError, match="prompt_logprobs"):
                await stub_of(channel).ModelInfer(request)
        assert threads[0] is threading.main_thread()
        assert threads[1] is not threading.main_thread()
        assert max(map(len, door.asked)) < 1000


async def test_what_is_refused_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that names another model is gone when its answer is there, and not when the garbage collector comes."""
    requests: list[oip.ModelInferRequest] = []

    def noted(request: oip.ModelInferRequest | Unread) -> oip.ModelInferRequest:
        requests.append(require_parsed(request))
        return requests[-1]

    monkeypatch.setattr(oip_service, "require_parsed", noted)
    gc.collect()
    gc.disable()
    try:
        async with opened() as door, door.connect() as channel:
            for _ in range(3):
                wrong = text_request()
                wrong.model_name = "other"
                with pytest.raises(grpc.aio.AioRpcError, match="not 'other'"):
                    await stub_of(channel).ModelInfer(wrong)
            assert len(requests) == 3
            # By this list alone, and by the question itself.
            await until(lambda: all(sys.getrefcount(requests[at]) == 2 for at in range(3)))
    finally:
        gc.enable()


async def test_idle_streams_are_bounded() -> None:
    """A connection has its share of streams that wait for a request, and each of them ends after a silence."""
    async with opened() as door, door.connect() as channel:
        door.service._idle = IdleStreams(20, 5.0)
        stub = stub_of(channel)
        streams = [stub.ModelStreamInfer() for _ in range(11)]
        codes = [await asyncio.wait_for(stream.code(), ENDED_S) for stream in streams]
        assert codes.count(grpc.StatusCode.RESOURCE_EXHAUSTED) == 1
        assert codes.count(grpc.StatusCode.DEADLINE_EXCEEDED) == 10
        assert door.counters.arrivals == 0


async def test_a_stream_that_waits_for_its_answer_is_not_idle() -> None:
    """An engine takes longer than a stream may be silent: the answer comes, and the next request is taken."""
    async with opened() as door, door.connect() as channel:
        door.service._idle = IdleStreams(20, 3.0)
        stub = stub_of(channel)
        stream = stub.ModelStreamInfer()
        for _ in range(2):
            door.may_answer.clear()
            await stream.write(text_request())
            await asyncio.sleep(4.0)
            door.may_answer.set()
            found = await asyncio.wait_for(stream.read(), ENDED_S)
            assert not found.error_message
        await stream.done_writing()
