"""An engine while it serves, by real processes of a small leader: silence, a hang, answers that are all alike."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from echoplaned.core.effects import DrainEngine, ProbeEngine, StartEngine
from echoplaned.core.engine_events import (
    EngineDrained,
    EngineGaveUp,
    EngineReady,
    EngineReporting,
    EngineSilent,
    EngineStopped,
    EngineStuck,
    ProbesFailed,
    ProbesPassed,
)
from echoplaned.core.facts import Task
from echoplaned.core.placement import LOCAL_NODE, DeviceShare, Placement
from echoplaned.engines.instance import StuckLimits
from echoplaned.testing.engine_stage import Subject
from tests.engines import tiny_leader
from tests.engines.engine_bench import KEY, Bench, facts, open_bench, start, stop
from tests.engines.test_engine_contract import tiny
from tests.models import Checkpoints

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

DEFAULT = StuckLimits()
PATIENT = StuckLimits(silence_s=10.0)
"""On a busy machine reports are late, and a silence is noticed later by as much."""

FACTS = facts(Task.EMBEDDING, tiny_leader.WIDTH)


@dataclass
class Serving:
    """A bench with a small engine that has passed its probes."""

    bench: Bench
    ready: EngineReady

    @property
    def pid(self) -> int:
        """The engine's leading process."""
        return self.bench.engine.pid_of(self.ready.leader_id)

    def spoil(self, word: str) -> None:
        """Spoil the engine's answers from now on."""
        (self.bench.state_dir / word).touch()


@asynccontextmanager
async def serving(checkpoints: Checkpoints, state_dir: Path, stuck: StuckLimits = DEFAULT) -> AsyncIterator[Serving]:
    """Start a small engine, pass its probes, and probe it while it serves."""
    subject: Subject = tiny(checkpoints, state_dir)
    effect: StartEngine = replace(start(checkpoints.encoder), spec=subject.spec, facts=FACTS)
    async with open_bench(state_dir, kinds=(subject.kind,), facts_of=lambda _version: FACTS, stuck=stuck) as bench:
        bench.engine.open()
        bench.engine.start(effect)
        try:
            ready = await bench.wait_for(EngineReady)
            bench.engine.probe(ProbeEngine(KEY, 1, ready.endpoints, FACTS))
            await bench.wait_for(ProbesPassed)
            yield Serving(bench, ready)
        finally:
            bench.engine.stop(stop())
            await bench.wait_for(EngineStopped)


async def test_a_stopped_process_is_silent_at_once_and_stuck_soon(checkpoints: Checkpoints, state_dir: Path) -> None:
    """SIGSTOP: silent after a second or two, heard again after SIGCONT, then stuck; its calls are waited for until the deadline."""
    async with serving(checkpoints, state_dir, PATIENT) as engine:
        os.kill(engine.pid, signal.SIGSTOP)
        began_s = time.monotonic()
        await engine.bench.wait_for(EngineSilent, 30)
        silent_s = time.monotonic() - began_s
        os.kill(engine.pid, signal.SIGCONT)
        await engine.bench.wait_for(EngineReporting, 30)
        os.kill(engine.pid, signal.SIGSTOP)
        began_s = time.monotonic()
        why = (await engine.bench.wait_for(EngineStuck, 40)).detail
        # Ten silent seconds are allowed here, and the daemon's probe, which is a call without a step, may give up before.
        assert "no report" in why or "no step" in why
        stuck_s = time.monotonic() - began_s
        print(f"SIGSTOP: silent after {silent_s:.1f} s, stuck after {stuck_s:.1f} s")  # noqa: T201 - a result
        assert silent_s < stuck_s
        began_s = time.monotonic()
        engine.bench.engine.drain(DrainEngine(KEY, 1, time.time() + 2.0, calls_only=True))
        await engine.bench.wait_for(EngineDrained, 10)
        assert time.monotonic() - began_s >= 1.9, "a process that reports nothing may have calls in flight"


async def test_a_hang_is_stuck_within_ten_seconds_of_its_probe(checkpoints: Checkpoints, state_dir: Path) -> None:
    """Its reports go on and it counts no call: the daemon's own probe is the call, and the engine is quiet when that was given up."""
    async with serving(checkpoints, state_dir) as engine:
        engine.spoil("hang")
        began_s = time.monotonic()
        assert "1 calls in flight and no step" in (await engine.bench.wait_for(EngineStuck, 30)).detail
        took_s = time.monotonic() - began_s
        print(f"a hang was stuck after {took_s:.1f} s, three to five of them idle")  # noqa: T201 - a result
        assert took_s < 15
        began_s = time.monotonic()
        engine.bench.engine.drain(DrainEngine(KEY, 1, time.time() + 30.0, calls_only=True))
        assert (await engine.bench.wait_for(EngineDrained, 20)).cut_count == 0
        assert time.monotonic() - began_s < 10


async def test_zeros_fail_an_engine_that_serves(checkpoints: Checkpoints, state_dir: Path) -> None:
    """All texts answered alike: twelve probes, one after the other, within ten seconds."""
    async with serving(checkpoints, state_dir) as engine:
        engine.spoil("zeros")
        began_s = time.monotonic()
        assert "all answered alike" in (await engine.bench.wait_for(ProbesFailed, 30)).detail
        print(f"zeros failed the engine after {time.monotonic() - began_s:.1f} s")  # noqa: T201 - a result
        last = engine.bench.engine.last_probe(KEY, 1)
        assert last is not None
        assert not last.outcome.ok


@pytest.mark.parametrize("is_split", [True, False])
async def test_an_engine_is_given_all_the_devices_of_its_ranks(
    checkpoints: Checkpoints, state_dir: Path, *, is_split: bool
) -> None:
    """In the order of the ranks; a kind that cannot be spread gives up at once, and nothing is started."""
    subject: Subject = tiny(checkpoints, state_dir)
    kind = replace(subject.kind, is_split=is_split)
    placement = Placement(LOCAL_NODE, (DeviceShare("cuda:3", 2**20), DeviceShare("cuda:0", 2**21)))
    effect = replace(start(checkpoints.encoder), spec=subject.spec, facts=FACTS, placement=placement)
    async with open_bench(state_dir, kinds=(kind,)) as bench:
        bench.engine.start(effect)
        if not is_split:
            assert "runs on one device, not on cuda:3, cuda:0" in (await bench.wait_for(EngineGaveUp)).failure.message
            assert bench.workers() == []
            return
        await bench.wait_for(EngineReady)
        assert (state_dir / "devices").read_text(encoding="utf-8") == "cuda:3 cuda:0"
        bench.engine.stop(stop())
        await bench.wait_for(EngineStopped)
