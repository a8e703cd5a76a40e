"""A connection's many requests leave the event loop to others in between."""

from __future__ import annotations

import asyncio

import pytest

from echoplaned.worker.loop_turns import LoopTurns

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
