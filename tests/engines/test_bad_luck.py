"""Foreign engines that behave badly, and what is left of them: nothing."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from echoplaned.core.effects import ProbeEngine, StartEngine, StopEngine
from echoplaned.core.engine_events import (
    EngineGaveUp,
    EngineLost,
    EngineReady,
    EngineStopped,
    EngineStuck,
    ProbesPassed,
)
from echoplaned.core.placement import on_one_device
from echoplaned.engine_kinds import KINDS, EngineKind, KindLimits
from echoplaned.engine_kinds.configured import configure
from echoplaned.engines.inventory import family_of
from echoplaned.supervisor.log import MAX_LOG_BYTES
from echoplaned.testing.engine_help import until
from echoplaned.testing.engine_stage import Stage, Subject, open_stage
from echoplaned.worker_contract.family import find_members
from echoplaned.worker_contract.record import read_records
from tests.engines.engine_bench import KEY, open_bench
from tests.engines.llama_parts import llama_facts, llama_kind, llama_spec

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

ENGINE = Path(__file__).with_name("odd_engine.py")
Opened = Callable[[Path], AbstractAsyncContextManager[Stage]]
LIMITS = KindLimits(start_quiet_s=6.0, start_silence_s=20.0)


def odd_kind(how: str) -> EngineKind:
    """Return an engine that behaves as the word says."""
    line = f"{shlex.quote(sys.executable)} -S {shlex.quote(str(ENGINE))} {how} {{port}} {{model}}"
    return replace(configure(f"command={line}", KINDS), limits=LIMITS)


@asynccontextmanager
async def odd_stage(how: str, folder: Path) -> AsyncIterator[Stage]:
    """Open a stage for such an engine."""
    kind = odd_kind(how)
    spec = llama_spec(kind, Path(__file__))
    subject = Subject(how, kind, spec, llama_facts(), broken=spec, endless=spec)
    state_dir = folder / "state"
    state_dir.mkdir()
    async with open_stage(subject, state_dir) as stage:
        yield stage


async def started(stage: Stage) -> EngineReady:
    """Start it, and have its probes pass."""
    ready = await stage.start()
    stage.engines.probe(stage.probe_effect())
    await stage.wait_for(ProbesPassed)
    return ready


async def test_one_that_exits_is_told_with_its_own_line(short_dir: Path) -> None:
    """The line that it wrote last is the reason; it may be tried again, as nothing says that it would end the same way."""
    async with odd_stage("exits", short_dir) as stage:
        await stage.begin()
        lost = await stage.wait_for(EngineLost)
        assert lost.generation == stage.generation
        logs = list((stage.state_dir / "logs").glob("*.log"))
        assert any("the engine's own reason" in path.read_text() for path in logs)
        assert not stage.marked()


async def test_one_that_exits_with_0_is_lost_all_the_same(short_dir: Path) -> None:
    """An exit code of 0 that nobody asked for is no success."""
    async with odd_stage("exits-with-0", short_dir) as stage:
        await stage.begin()
        await stage.wait_for(EngineLost)


async def test_one_that_says_nothing_is_stuck(short_dir: Path) -> None:
    """Neither output, nor computing, nor memory: its start is given up by the kind's limit."""
    async with odd_stage("silent", short_dir) as stage:
        await stage.begin()
        stuck = await stage.wait_for(EngineStuck, 60.0)
        assert "its start" in stuck.detail
        await stage.stop()
        assert not stage.marked()


async def test_one_that_is_killed_at_its_first_answer_is_lost(short_dir: Path) -> None:
    """Its connection breaks before its end is seen: that is a loss, which is tried again, and no verdict on the version."""
    async with odd_stage("dies", short_dir) as stage:
        await stage.begin()
        lost = await stage.wait_for(EngineLost)
        assert lost.generation == stage.generation
        assert not any(isinstance(event, EngineGaveUp) for event in stage.events)


async def test_one_that_answers_no_json_is_given_up(short_dir: Path) -> None:
    """Health that is well and answers that are none: the version is refused, with the reason."""
    async with odd_stage("no-json", short_dir) as stage:
        await stage.begin()
        gave_up = await stage.wait_for(EngineGaveUp)
        assert "is no JSON" in gave_up.failure.message


async def test_one_that_ignores_sigterm_is_killed(short_dir: Path) -> None:
    """A stop takes the grace, and then everything."""
    async with odd_stage("deaf", short_dir) as stage:
        await started(stage)
        family = stage.family()
        began_s = time.monotonic()
        await stage.stop()
        assert time.monotonic() - began_s < 60.0
        await stage.expect_nothing_left(family)


async def test_an_orphan_in_a_session_of_its_own_ends_with_it(short_dir: Path) -> None:
    """It carries the mark, so it is found whoever its parent is."""
    async with odd_stage("orphans", short_dir) as stage:
        await stage.start()
        family = stage.family()
        strays = [one for one in find_members(family) if one.session != family.leader_pid]
        assert len(strays) == 1
        await stage.stop()
        await stage.expect_nothing_left(family)


@pytest.mark.parametrize("victim", ["supervisor", "engine", "both"])
async def test_shared_memory_is_gone_whoever_is_killed(victim: str, short_dir: Path) -> None:
    """The resource tracker survives the others long enough to unlink what they shared."""
    async with odd_stage("shares", short_dir) as stage:
        await started(stage)
        family = stage.family()
        name = next(word for line in log_lines(stage) if line.startswith("shares ") for word in [line.split()[1]])
        segment = Path("/dev/shm") / name
        assert segment.exists()
        engine = next(one.pid for one in find_members(family) if parent_of(one.pid) == family.leader_pid)
        for pid in {"supervisor": (family.leader_pid,), "engine": (engine,), "both": (engine, family.leader_pid)}[
            victim
        ]:
            os.kill(pid, signal.SIGKILL)
        await stage.wait_for(EngineLost, 60.0)
        stage.has_ended()
        await stage.expect_nothing_left(family)
        assert not segment.exists()


async def test_a_log_is_bounded(short_dir: Path) -> None:
    """64 MiB of output leave two files of bounded size, which nobody else may read; the engine is not held up."""
    async with odd_stage("talks", short_dir) as stage:
        await started(stage)
        logs = list((stage.state_dir / "logs").glob("*.log"))
        assert len(logs) == 2
        assert all(path.stat().st_size <= MAX_LOG_BYTES + 4096 for path in logs)
        assert all(path.stat().st_mode & 0o077 == 0 for path in logs)


async def test_a_frozen_engine_is_stuck_though_its_supervisor_reports(short_dir: Path) -> None:
    """Its leader goes on to report; probes are in flight and nothing moves."""
    kind, facts = odd_kind("well"), llama_facts()
    async with open_bench(short_dir, kinds=(kind,), facts_of=lambda _version: facts) as bench:
        bench.engine.open()
        spec = llama_spec(kind, Path(__file__))
        bench.engine.start(StartEngine(KEY, 1, on_one_device("host", 0), spec, facts))
        ready = await bench.wait_for(EngineReady)
        bench.engine.probe(ProbeEngine(KEY, 1, ready.endpoints, facts))
        await bench.wait_for(ProbesPassed)
        (record,) = read_records(short_dir)
        family = family_of(record)
        engine = next(one.pid for one in find_members(family) if parent_of(one.pid) == family.leader_pid)
        os.kill(engine, signal.SIGSTOP)
        began_s = time.monotonic()
        stuck = await bench.wait_for(EngineStuck)
        print(f"seen after {time.monotonic() - began_s:.1f} s: {stuck.detail}")  # noqa: T201 - a figure for the note
        bench.engine.stop(StopEngine(KEY, 1))
        await bench.wait_for(EngineStopped)
        assert not find_members(family)


@asynccontextmanager
async def llama_stage(folder: Path) -> AsyncIterator[Stage]:
    """Open a stage for the real llama-server."""
    kind = llama_kind()
    spec = llama_spec(kind)
    state_dir = folder / "state"
    state_dir.mkdir()
    async with open_stage(Subject("llama", kind, spec, llama_facts(), broken=spec, endless=spec), state_dir) as stage:
        yield stage


KILLED: dict[str, Opened] = {
    "an engine that shares memory": lambda folder: odd_stage("shares", folder),
    "llama-server": llama_stage,
}


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("opened", [pytest.param(opened, id=name) for name, opened in KILLED.items()])
async def test_200_kills_leave_nothing(opened: Opened, short_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Supervisor, engine or both, in a start or while it serves: no process and no shared memory is left."""
    before, began_s = shared_segments(), time.monotonic()
    async with opened(short_dir) as stage:
        for round_ in range(200):
            await stage.begin()
            if round_ % 2:
                stage.ready = await stage.wait_for(EngineReady)
            else:
                await until(stage.marked, "no leader came")
                await asyncio.sleep((round_ % 20) / 20)
            found = sorted(stage.marked(), key=lambda one: one.pid)
            for one in (found[:1], found[1:2] or found[:1], found[:2])[round_ // 2 % 3]:
                os.kill(one.pid, signal.SIGKILL)
            await wait_for_any(stage, EngineLost, EngineReady)
            await stage.stop()
            await until(lambda: not stage.marked(), f"round {round_}: processes are left")
    left = shared_segments() - before
    with capsys.disabled():
        print(f"\n200 kills in {time.monotonic() - began_s:.0f} s: no process left, segments left: {sorted(left)}")  # noqa: T201
    assert not left


def shared_segments() -> set[str]:
    """Return the names of what lies in shared memory but Envoys', which other tests run."""
    return {path.name for path in Path("/dev/shm").iterdir() if not path.name.startswith("envoy")}


def log_lines(stage: Stage) -> list[str]:
    """Return what the engine wrote."""
    return [line for path in (stage.state_dir / "logs").glob("*.log") for line in path.read_text().splitlines()]


def parent_of(pid: int) -> int:
    """Return a process's parent."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def wait_for_any(stage: Stage, *kinds: type) -> object:
    """Return the next event of one of some kinds."""
    found: list[object] = []

    def look() -> bool:
        found.extend(event for event in stage.events if isinstance(event, kinds))
        return bool(found)

    await until(look, f"none of {kinds} came", 120.0)
    stage.events.clear()
    return found[0]
