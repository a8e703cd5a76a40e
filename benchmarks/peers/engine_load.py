"""Requests of one token at a steady rate, to an engine's own socket or by translation: an open loop, timed from when each was due.

python -m benchmarks.peers.engine_load. A line on stdin is JSON: ``way`` (``direct`` or ``translated``), ``address``, ``model``, ``rate``,
``seconds``. It says when the warm-up is over, and answers in JSON: answers, failures by what they were, the latencies' median and 99th
percentile in ms, seconds until the last answer, and this process's own CPU seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, cast

import grpc
import grpc.aio

from benchmarks.peers.load_orders import sum_up, take_orders
from echoplane.channels import DIRECT_OPTIONS
from echoplane.inference import grpc_service_pb2 as oip
from echoplane.inference import grpc_service_pb2_grpc as oip_grpc
from echoplaned.supervisor.http import EngineAddress, EngineAwayError, EngineHttp, EngineSlowError

DIRECT: Final = "direct"
TRANSLATED: Final = "translated"
PROMPT: Final = "The capital of France is"
DEADLINE_S: Final = 10.0
_WARM_UP: Final = 20

Ask = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Tally:
    """What the requests came to."""

    latencies_s: list[float] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)


@contextlib.asynccontextmanager
async def direct(socket: str, model: str) -> AsyncIterator[Ask]:
    """Ask by OpenAI's API at the engine's socket."""
    http = EngineHttp(EngineAddress(socket))
    body = {"model": model, "prompt": PROMPT, "max_tokens": 1, "temperature": 0}

    async def ask() -> None:
        answer = await http.call("POST", "/v1/completions", body, timeout_s=DEADLINE_S)
        if answer.status != 200:
            raise EngineAwayError(f"status {answer.status}")

    yield ask
    http.close()


@contextlib.asynccontextmanager
async def translated(address: str, model: str) -> AsyncIterator[Ask]:
    """Ask by the Open Inference Protocol at the supervisor."""
    request = oip.ModelInferRequest(model_name=model)
    tensor = request.inputs.add(name="text", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(PROMPT.encode())
    request.parameters["max_tokens"].int64_param = 1
    async with grpc.aio.insecure_channel(address, DIRECT_OPTIONS) as channel:
        stub = cast("oip_grpc.GRPCInferenceServiceAsyncStub", oip_grpc.GRPCInferenceServiceStub(channel))

        async def ask() -> None:
            await stub.ModelInfer(request, timeout=DEADLINE_S)

        yield ask


WAYS: Final = {DIRECT: direct, TRANSLATED: translated}


async def once(ask: Ask, due_s: float, tally: Tally) -> None:
    """Ask once, and note how it ended."""
    try:
        await ask()
    except grpc.aio.AioRpcError as error:
        tally.failed[error.code().name] += 1
    except (EngineAwayError, EngineSlowError) as error:
        tally.failed[str(error)] += 1
    else:
        tally.latencies_s.append(time.perf_counter() - due_s)


async def load(order: dict[str, str]) -> dict[str, object]:
    """Ask at a rate for so long; return what came of it."""
    rate, seconds = float(order["rate"]), float(order["seconds"])
    async with WAYS[order["way"]](order["address"], order["model"]) as ask:
        for _ in range(_WARM_UP):
            await ask()
        print(json.dumps("measuring"), flush=True)
        tally, cpu_s, began_s = Tally(), time.process_time(), time.perf_counter()
        async with asyncio.TaskGroup() as requests:
            for number in range(round(rate * seconds)):
                due_s = began_s + number / rate
                await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
                requests.create_task(once(ask, due_s, tally))
        cpu_s, taken_s = time.process_time() - cpu_s, time.perf_counter() - began_s
    return sum_up(tally.latencies_s, tally.failed, taken_s, cpu_s)


def main() -> None:
    """Load whenever told to."""
    take_orders(load)


if __name__ == "__main__":
    main()
