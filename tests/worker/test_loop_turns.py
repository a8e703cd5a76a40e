"""A connection's many requests leave the event loop to others in between."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from echoplane.inference import grpc_service_pb2 as oip
from echoplaned.worker import oip_service
from echoplaned.worker.loop_turns import LoopTurns
from echoplaned.worker.tracing import TraceOrigin
from echoplaned.worker_contract.inference.requests import InferOrder
from echoplaned.worker_contract.inference.sampling import Sampling
from tests.turning import counted_turns

MANY = 200


async def test_the_others_are_next() -> None:
    """Beside two hundred pieces of one connection, another's comes after three of them, and a plain callback after two."""
    turns, order = LoopTurns(), []
    greedy = [asyncio.create_task(turns.run(lambda: order.append("greedy"), "greedy")) for _ in range(MANY)]
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(order.append, "callback")
    small = asyncio.create_task(turns.run(lambda: order.append("small"), "small"))
    await asyncio.gather(small, *greedy)
    assert order[: order.index("callback")].count("greedy") <= 2
    assert order[: order.index("small")].count("greedy") <= 3
    assert order.count("greedy") == MANY


async def test_a_lonely_piece_runs_at_once() -> None:
    """Nothing is waited for where nobody else wants the loop."""
    turns, passes = LoopTurns(), list[int]()
    asyncio.get_running_loop().call_soon(passes.append, 1)
    assert await turns.run(lambda: list(passes), "a") == []


async def test_an_error_gives_the_turn_back() -> None:
    """What fails is raised to its caller, and the next piece runs."""
    turns = LoopTurns()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await turns.run(lambda: 1 // 0, "a")
    assert await turns.run(lambda: 7, "a") == 7


@pytest.mark.parametrize(("rows", "least"), [(1, 0), (1000, 15)])
async def test_the_loop_turns_while_a_large_answer_is_written(
    rows: int, least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million typed numbers over gRPC come in sixteen steps, a single row in none; all of them are there."""
    values = np.arange(rows * 1000, dtype=np.float32).reshape(rows, 1000)

    async def tensors(*_: object) -> dict[str, Any]:
        return {"embedding": values}

    monkeypatch.setattr(oip_service, "answer_tensors", tensors)
    version = SimpleNamespace(model="m", version="v1")
    options = SimpleNamespace(instance=SimpleNamespace(version=version))
    serving: Any = SimpleNamespace(model=SimpleNamespace(options=options), writing=LoopTurns())
    order = InferOrder((), (), Sampling(), ("embedding", "log_distributions"), raw=False)
    async with counted_turns() as turns:
        response = await oip_service._answer(oip.ModelInferRequest(id="7"), serving, order, TraceOrigin())
    (output,) = response.outputs
    assert np.array_equal(np.array(output.contents.fp32_contents, dtype=np.float32), values.ravel())
    assert turns.count >= least
