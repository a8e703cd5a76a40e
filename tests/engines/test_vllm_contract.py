"""The contract suite on a real vLLM, on CPUs, in an environment of its own (``make test-engines``), and one that is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from echoplaned.core.effects import ProbeEngine, StartEngine, StopEngine
from echoplaned.core.endpoints import Endpoint, EndpointProtocol
from echoplaned.core.engine_events import EngineReady, EngineStopped, EngineStuck, ProbesPassed
from echoplaned.core.facts import Task
from echoplaned.core.placement import on_one_device
from echoplaned.engines.inventory import family_of
from echoplaned.supervisor.http import EngineAddress, EngineAwayError, EngineHttp, EngineSlowError
from echoplaned.testing.engine_case import Case, CaseNeed
from echoplaned.testing.engine_contract import DEATHS, GOOD_LIFE, run_suite
from echoplaned.testing.engine_stage import Subject
from echoplaned.worker_contract.family import find_members
from echoplaned.worker_contract.record import read_records
from tests.engines.engine_bench import KEY, facts, open_bench
from tests.engines.vllm_parts import CONTEXT, MIB, START_S, core_of, cpu_s, make_model, vllm_kind, vllm_spec

pytestmark = [pytest.mark.engines, pytest.mark.timeout(3600)]

KV_CACHE_BYTES = 64 * MIB
STUCK_S = 10.0
PARTS = {"good life": GOOD_LIFE, "deaths": DEATHS}

Tell = Callable[[str], None]


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Tell:
    """Print a figure at once."""

    def print_line(line: str) -> None:
        with capsys.disabled():
            print(f"\n{line}", end="", flush=True)  # noqa: T201 - figures of an engine that takes minutes

    return print_line


def vllm(folder: Path) -> Subject:
    """Return vLLM on a small Llama with random weights."""
    kind = vllm_kind()
    spec = vllm_spec(kind, make_model(folder / "model"))
    return Subject(
        "vllm",
        kind,
        spec,
        facts(Task.GENERATION),
        broken=spec,
        endless=spec,
        lacks={CaseNeed.TRACES: "the engine does not tell what requests said"},
        start_wait_s=START_S,
        kv_cache_bytes=KV_CACHE_BYTES,
    )


def shared_memory() -> set[str]:
    """Return the names of what Python's processes have in shared memory."""
    return {path.name for path in Path("/dev/shm").iterdir() if path.name.startswith(("psm_", "sem.mp-"))}


@pytest.mark.parametrize("cases", [pytest.param(cases, id=name) for name, cases in PARTS.items()])
async def test_the_contract_is_kept(cases: tuple[Case, ...], short_dir: Path, tell: Tell) -> None:
    """Every case passes, or is left out by the name of what the engine lacks. A start takes minutes, so FAILURES are not played."""
    folder = short_dir / "state"
    folder.mkdir()
    subject, before = vllm(short_dir), shared_memory()
    outcomes = []
    async for outcome in run_suite(subject, folder, cases):
        outcomes.append(outcome)
        tell(f"contract, {subject.name}: {outcome}")
    assert [str(one) for one in outcomes if one.failure] == []
    assert shared_memory() <= before


@contextlib.asynccontextmanager
async def asking(endpoints: tuple[Endpoint, ...]) -> AsyncIterator[None]:
    """Have a request of OpenAI's in flight at the engine's own socket, whatever becomes of it."""
    (path,) = [one.target.removeprefix("unix:") for one in endpoints if one.protocol is EndpointProtocol.OPENAI_HTTP]
    http = EngineHttp(EngineAddress(path))

    async def ask() -> None:
        with contextlib.suppress(EngineAwayError, EngineSlowError):
            await http.call("POST", "/v1/completions", {"prompt": "a", "max_tokens": CONTEXT // 2}, timeout_s=60.0)

    task = asyncio.create_task(ask())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        http.close()


async def test_a_stopped_core_is_stuck_though_its_health_is_well(short_dir: Path, tell: Tell) -> None:
    """The engine's health route answers 200, its gauges say 0: what its HTTP service has under way and no step tell within ten seconds."""
    subject = vllm(short_dir)
    state_dir = short_dir / "state"
    state_dir.mkdir()
    known = subject.facts
    async with open_bench(state_dir, kinds=(subject.kind,), facts_of=lambda _version: known) as bench:
        bench.engine.open()
        began_s = time.monotonic()
        place = on_one_device("host", 0)
        bench.engine.start(StartEngine(KEY, 1, place, subject.spec, known, kv_cache_bytes=KV_CACHE_BYTES))
        ready = await bench.wait_for(EngineReady, START_S)
        (record,) = read_records(state_dir)
        tell(f"vLLM ready after {time.monotonic() - began_s:.0f} s, of which {cpu_s(record.pid):.0f} s on a CPU")
        bench.engine.probe(ProbeEngine(KEY, 1, ready.endpoints, known))
        await bench.wait_for(ProbesPassed, 300.0)
        family = family_of(record)
        os.kill(core_of(record.pid).pid, signal.SIGSTOP)
        began_s = time.monotonic()
        async with asking(ready.endpoints):
            stuck = await bench.wait_for(EngineStuck, 60.0)
            took_s = time.monotonic() - began_s
            tell(f"SIGSTOP of EngineCore seen after {took_s:.1f} s: {stuck.detail}")
        bench.engine.stop(StopEngine(KEY, 1))
        await bench.wait_for(EngineStopped)
        assert not find_members(family)
        assert took_s < STUCK_S
