"""Whose turn a start is on a device."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from echoplaned.engine_kinds import DEFAULT_KIND, EngineKind, vllm
from echoplaned.engines.device_turns import DeviceTurns


@dataclass
class Starts:
    """Starts that go on until they are told to end."""

    turns: DeviceTurns = field(default_factory=DeviceTurns)
    running: list[str] = field(default_factory=list)
    ends: dict[str, asyncio.Event] = field(default_factory=dict)

    async def start(
        self, name: str, device_ids: Sequence[str], kind: EngineKind = vllm.KIND, *, is_running: bool = False
    ) -> asyncio.Task[None]:
        """Begin one, and let it come as far as it can."""
        end = self.ends[name] = asyncio.Event()

        async def run() -> None:
            async with self.turns.start(kind, device_ids, is_running=is_running):
                self.running.append(name)
                try:
                    await end.wait()
                finally:
                    self.running.remove(name)

        task = asyncio.create_task(run())
        await settle()
        return task

    async def end(self, name: str) -> None:
        """Have one become ready."""
        self.ends[name].set()
        await settle()


async def settle() -> None:
    """Let every task come as far as it can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_at_a_time_on_a_card() -> None:
    """The second waits until the first is ready, and the third for the second; another card has its own turn."""
    starts = Starts()
    for name, device in (("a", "cuda:0"), ("b", "cuda:0"), ("c", "cuda:0"), ("d", "cuda:1")):
        await starts.start(name, [device])
    assert starts.running == ["a", "d"]
    await starts.end("a")
    assert starts.running == ["d", "b"]
    await starts.end("b")
    assert starts.running == ["d", "c"]


@pytest.mark.parametrize(("kind", "device"), [(vllm.KIND, "host"), (DEFAULT_KIND, "cuda:0"), (DEFAULT_KIND, "host")])
async def test_nobody_else_waits(kind: EngineKind, device: str) -> None:
    """Host memory is not measured so, and the embedded engine takes what it was given: their starts go side by side."""
    starts = Starts()
    await starts.start("first", ["cuda:0"])
    for number in range(3):
        await starts.start(str(number), [device], kind)
    assert starts.running == ["first", "0", "1", "2"]


async def test_a_turn_ends_with_a_failure_too() -> None:
    """A start that is given up in its turn, or while it waits, is in nobody's way."""
    starts = Starts()
    first = await starts.start("first", ["cuda:0"])
    waiting = await starts.start("waiting", ["cuda:0"])
    await starts.start("last", ["cuda:0"])
    waiting.cancel()
    first.cancel()
    await settle()
    assert starts.running == ["last"]


async def test_a_split_engine_waits_for_all_its_cards() -> None:
    """It holds none while it waits for another."""
    starts = Starts()
    await starts.start("one", ["cuda:1"])
    await starts.start("both", ["cuda:0", "cuda:1"])
    await starts.start("zero", ["cuda:0"])
    assert starts.running == ["one", "zero"]
    await starts.end("one")
    await starts.end("zero")
    assert starts.running == ["both"]


async def test_a_start_of_an_earlier_daemon_is_waited_for() -> None:
    """It runs already, whatever else does; what comes after it waits."""
    starts = Starts()
    await starts.start("new", ["cuda:0"])
    await starts.start("adopted", ["cuda:0"], is_running=True)
    assert starts.running == ["new", "adopted"]
    await starts.start("later", ["cuda:0"])
    await starts.end("new")
    assert starts.running == ["adopted"]
    await starts.end("adopted")
    assert starts.running == ["later"]
