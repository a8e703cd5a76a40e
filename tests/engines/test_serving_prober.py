"""Probes of a serving engine, against an engine of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import grpc
import pytest

from echoplaned.engines import serving_prober
from echoplaned.engines.channels import EngineChannel
from echoplaned.engines.instance import WatchedInstance
from echoplaned.engines.progress import HangLimits, StepProgress
from echoplaned.engines.serving_prober import ServingProber
from echoplaned.ports.probing import LastProbe
from echoplaned.worker_contract.golden import GOLDEN_TEXTS
from tests.engines.engine_bench import KEY, facts
from tests.engines.test_probing import Engine, channel_to


@dataclass
class Client:
    """Stands where a leader's control client stands; only its line is asked for."""

    line: EngineChannel


@dataclass
class Leader:
    """Stands where a leader's process stands."""

    client: Client


@dataclass
class Watched:
    """Stands where a watched instance stands: a probe is always due."""

    leader: Leader
    key: tuple[Any, int] = (KEY, 1)
    stopping: bool = False
    last_probe: LastProbe | None = None
    progress: StepProgress = field(default_factory=lambda: StepProgress(HangLimits(), 0.0))
    outcomes: list[bool] = field(default_factory=list)

    def wants_probe(self, *, now: bool = False) -> bool:
        """Whether one is due."""
        del now
        return True

    def probe_began(self) -> None:
        """Take note."""

    def probe_ended(self, *, answered: bool, arrived: bool = True) -> None:
        """Take note."""
        del arrived
        self.outcomes.append(answered)


@dataclass
class Seen:
    """What a prober said of an engine, and how many probes that took."""

    why: list[str]
    sent: int
    watched: Watched


async def beat(engine: Engine, monkeypatch: pytest.MonkeyPatch, enough: Callable[[Watched], bool]) -> Seen:
    """Let a prober run until it has failed the engine, or until a test has seen enough."""
    monkeypatch.setattr(serving_prober, "_LOOK_S", 0.01)
    why: list[str] = []
    async with channel_to(engine) as channel:
        watched = Watched(Leader(Client(EngineChannel(channel))))
        real = cast("WatchedInstance", watched)
        prober = ServingProber(real, lambda _: facts(width=1), lambda: 5.0, lambda _, text: why.append(text))
        task = asyncio.create_task(prober.run())
        async with asyncio.timeout(20):
            while not task.done() and not enough(watched):
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return Seen(why, len(engine.texts), watched)


async def test_good_answers_go_on_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts in turn; each answer is noted as the last probe."""
    seen = await beat(Engine(float), monkeypatch, lambda watched: len(watched.outcomes) >= 30)
    assert seen.why == []
    assert all(seen.watched.outcomes)
    assert seen.watched.last_probe is not None
    assert (seen.watched.last_probe.outcome.ok, seen.watched.last_probe.time_s) == (True, 5.0)
    assert not seen.watched.progress.is_probed, "nobody probes it any more"


@pytest.mark.parametrize("number", [0.0, 0.5])
async def test_the_same_vector_to_every_text_fails(number: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Zeros are the plainest case; it takes one round of the golden texts, and no waiting between them."""
    seen = await beat(Engine(lambda _: number), monkeypatch, lambda _: False)
    assert seen.why == ["the last 12 golden prompts were all answered alike"]
    assert seen.sent == len(GOLDEN_TEXTS)
    assert seen.watched.last_probe is not None
    assert not seen.watched.last_probe.outcome.ok


async def test_nan_fails_at_the_second_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """One bad answer may be the fault of what a caller sent beside it; two in a row are the engine's."""
    seen = await beat(Engine(lambda call: float("nan") if call >= 4 else call), monkeypatch, lambda _: False)
    assert len(seen.why) == 1
    assert "NaN or an infinity" in seen.why[0]
    assert seen.sent == 6
    seen = await beat(
        Engine(lambda call: float("nan") if call % 2 else call), monkeypatch, lambda watched: len(watched.outcomes) > 9
    )
    assert seen.why == []


async def test_a_full_queue_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that refuses for want of room, again and again, has answered nothing wrongly."""

    class Full(Engine):
        """Refuses."""

        async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
            """Refuse a probe."""
            self.texts.append(request.raw_input_contents[0])
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "the queue is full")

    seen = await beat(Full(float), monkeypatch, lambda watched: len(watched.outcomes) >= 5)
    assert seen.why == []
    assert not any(seen.watched.outcomes)
    assert seen.watched.last_probe is None


async def test_an_engine_that_refuses_was_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that broke off, a full queue for long, and two that broke off: it was never away for long."""
    monkeypatch.setattr(serving_prober, "_AWAY_S", 0.3)
    loop = asyncio.get_running_loop()
    began_s = loop.time()

    class Busy(Engine):
        """Breaks the first call off, and two after half a second; refuses between them, and answers afterwards."""

        broken = 0

        async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
            """Answer, or do not."""
            if not self.broken or (loop.time() - began_s > 0.5 and self.broken < 3):
                self.broken += 1
                await context.abort(grpc.StatusCode.UNAVAILABLE, "broken off")
            if self.broken < 3:
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "the queue is full")
            return await super().ModelInfer(request, context)

    seen = await beat(Busy(float), monkeypatch, lambda watched: sum(watched.outcomes) >= 3)
    assert seen.why == []


async def test_an_engine_that_cannot_be_called_fails_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that ends says UNAVAILABLE too, but not for long; nothing is said of it before."""
    monkeypatch.setattr(serving_prober, "_AWAY_S", 0.5)

    class Away(Engine):
        """Is not there for any call."""

        async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
            """Break a probe off."""
            self.texts.append(request.raw_input_contents[0])
            await context.abort(grpc.StatusCode.UNAVAILABLE, "no model")

    began_s = asyncio.get_running_loop().time()
    seen = await beat(Away(float), monkeypatch, lambda _: False)
    assert "no model" in seen.why[0]
    assert asyncio.get_running_loop().time() - began_s > 0.5
