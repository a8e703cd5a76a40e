"""An engine that was changed under a version does not serve it: it is refused before it starts."""

from __future__ import annotations

import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from echoplaned.core.effects import StartEngine, StopEngine
from echoplaned.core.engine_events import EngineGaveUp, EngineReady, EngineStopped
from echoplaned.core.failure import Reason
from echoplaned.core.placement import on_one_device
from echoplaned.engine_kinds import KINDS, EngineKind
from echoplaned.engine_kinds.configured import configure
from tests.engines.engine_bench import KEY, Bench, open_bench
from tests.engines.llama_parts import llama_facts, llama_spec

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

ODD_ENGINE = Path(__file__).with_name("odd_engine.py")


def installed(folder: Path, lines: str = "") -> EngineKind:
    """Install a program that serves, and return its kind."""
    program = folder / "engine"
    engine = folder / "engine.py"
    shutil.copy(ODD_ENGINE, engine)
    program.write_text(f'#!/bin/sh\n{lines}exec {shlex.quote(sys.executable)} -S {shlex.quote(str(engine))} "$@"\n')
    program.chmod(0o755)
    return configure(f"command={shlex.quote(str(program))} well {{port}} {{model}}", KINDS)


def begin(bench: Bench, kind: EngineKind, generation: int, build: str) -> None:
    """Ask for a start by a build."""
    start = StartEngine(KEY, generation, on_one_device("host", 0), llama_spec(kind, ODD_ENGINE), llama_facts())
    bench.engine.start(replace(start, engine_build=build))


async def test_only_the_build_that_served_first_is_started(short_dir: Path) -> None:
    """The same one starts again; a program that was written over is refused as ENGINE_CHANGED, with both builds named."""
    kind, facts = installed(short_dir), llama_facts()
    (state_dir := short_dir / "state").mkdir()
    async with open_bench(state_dir, kinds=(kind,), facts_of=lambda _version: facts) as bench:
        bench.engine.open()
        begin(bench, kind, 1, "")
        build = (await bench.wait_for(EngineReady)).engine_build
        assert build.startswith("(engine of ")
        bench.engine.stop(StopEngine(KEY, 1))
        await bench.wait_for(EngineStopped)
        begin(bench, kind, 2, build)
        again = await bench.wait_for(EngineReady)
        assert (again.generation, again.engine_build) == (2, build)
        bench.engine.stop(StopEngine(KEY, 2))
        await bench.wait_for(EngineStopped)
        installed(short_dir, f"touch {shlex.quote(str(short_dir))}/started\n")
        begin(bench, kind, 3, build)
        failure = (await bench.wait_for(EngineGaveUp)).failure
        assert failure.reason is Reason.ENGINE_CHANGED
        assert build in failure.message
        assert "as another version" in failure.message
        assert not (short_dir / "started").exists()
