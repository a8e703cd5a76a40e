"""Engine processes, by the real workers of the embedded kind."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any, cast

import pytest

from echoplane.inference import grpc_service_pb2_grpc as oip_grpc
from echoplaned.core.endpoints import oip_target
from echoplaned.core.engine_events import (
    EngineDrained,
    EngineGaveUp,
    EngineLost,
    EngineReady,
    EngineStopped,
    EngineStuck,
    MemoryMeasured,
    ProbesFailed,
    ProbesPassed,
)
from echoplaned.core.events import FoundEngine
from echoplaned.core.facts import Task
from echoplaned.core.failure import Reason
from echoplaned.engines.channels import open_channel
from echoplaned.engines.instance import WatchedInstance
from echoplaned.engines.inventory import scan
from echoplaned.engines.launcher import launch
from echoplaned.engines.messages import golden_request
from echoplaned.engines.probing import OipProber
from echoplaned.engines.quiet import QUIET_S, SETTLE_S
from echoplaned.testing.builders import endpoints
from echoplaned.worker_contract.record import WorkerPhase, read_records
from echoplaned.worker_contract.report import Report
from tests.engines.engine_bench import (
    KEY,
    Bench,
    drain,
    facts,
    is_running,
    launch_options,
    open_bench,
    probe,
    start,
    stop,
    until,
)
from tests.models import Checkpoints

pytestmark = pytest.mark.system


def now_s() -> float:
    """The wall clock that the bench's engine has."""
    return time.time()


async def infer(bench: Bench, ready: EngineReady, count: int) -> None:
    """Make probes as traffic and see them counted."""
    prober = OipProber(time.monotonic)
    for index in range(count):
        outcome = await prober.probe_once(KEY.version, facts(), oip_target(ready.endpoints), index)
        assert outcome.ok, outcome.detail
        assert outcome.duration_s > 0
    await prober.close()
    await until(lambda: any(counts.ok >= count for counts in bench.counts.values()))


async def test_start_probe_stuck_and_kill(checkpoints: Checkpoints, state_dir: Path) -> None:
    """An instance comes up, is probed, counted and measured; SIGSTOP is seen as stuck, SIGKILL as lost within two seconds."""
    async with open_bench(state_dir) as bench:
        bench.engine.open()
        bench.engine.start(start(checkpoints.encoder))
        bench.engine.start(start(checkpoints.encoder))
        ready = await bench.wait_for(EngineReady)
        assert (ready.instance, ready.generation) == (KEY, 1)
        assert len(bench.workers()) == 1
        bench.engine.start(start(checkpoints.encoder))
        assert (await bench.wait_for(EngineReady)).leader_id == ready.leader_id
        await check_probes(bench, ready)
        await infer(bench, ready, 3)
        pid = bench.engine.pid_of(ready.leader_id)
        os.kill(pid, signal.SIGSTOP)
        began_s = time.monotonic()
        stuck = await bench.wait_for(EngineStuck, 15)
        assert "no report" in stuck.detail
        assert time.monotonic() - began_s < 10
        os.kill(pid, signal.SIGCONT)
        os.kill(pid, signal.SIGKILL)
        began_s = time.monotonic()
        lost = await bench.wait_for(EngineLost, 10)
        assert time.monotonic() - began_s < 2
        assert "SIGKILL" in lost.detail
        assert len(bench.ended_processes) == 1
        assert read_records(state_dir) == ()
        bench.engine.stop(stop())
        assert (await bench.wait_for(EngineStopped, 5)).generation == 1


async def check_probes(bench: Bench, ready: EngineReady) -> None:
    """Probes pass, the memory is told, and a wrong signature fails them."""
    bench.engine.probe(probe(ready))
    assert (await bench.wait_for(ProbesPassed, 30)).detail == "12/12"
    assert 0 < (await bench.wait_for(MemoryMeasured, 10)).measured_bytes < 400 * 1024 * 1024
    bench.engine.probe(probe(ready, width=64))
    assert "[1, 128], not FP32[-1, 64]" in (await bench.wait_for(ProbesFailed, 30)).detail


async def test_adoption_drain_and_stop(checkpoints: Checkpoints, state_dir: Path) -> None:
    """A second engine finds what the first one left, counts from there, drains and ends it; nothing is left."""
    async with open_bench(state_dir, keep_workers=True) as first:
        first.engine.start(start(checkpoints.encoder))
        ready = await first.wait_for(EngineReady)
        await infer(first, ready, 2)
        pid = first.engine.pid_of(ready.leader_id)
    assert is_running(pid)
    async with open_bench(state_dir) as second:
        (found,) = await second.engine.adopt()
        assert found == FoundEngine(KEY, 1, ready.endpoints, ready.leader_id)
        assert second.engine.pid_of(found.leader_id) == pid
        assert await second.engine.sweep(frozenset({(KEY, 1)})) == 0
        second.engine.open()
        second.engine.start(start(checkpoints.encoder))
        assert (await second.wait_for(EngineReady, 10)).leader_id == ready.leader_id
        await infer(second, ready, 1)
        assert [counts.ok for counts in second.counts.values()] == [1]
        await check_drain(second, oip_target(ready.endpoints))
        second.engine.stop(stop())
        assert (await second.wait_for(EngineStopped, 10)).generation == 1
        assert not is_running(pid)
        assert second.workers() == []
        left = sorted(path.name for path in (state_dir / "instances").iterdir())
        assert left == ["state-dir-id", "state-dir-place"]


async def check_drain(bench: Bench, address: str) -> None:
    """A drain can be given up; one whose deadline has passed ends at once; an instance that had nothing but probes settles first."""
    bench.engine.drain(drain(now_s() + 60))
    await asyncio.sleep(0.5)
    bench.engine.undrain(KEY, 1)
    bench.engine.drain(drain(now_s() - 1))
    assert (await bench.wait_for(EngineDrained, 5)).cut_count == 0
    began_s = time.monotonic()
    bench.engine.drain(drain(now_s() + 60))
    assert (await bench.wait_for(EngineDrained, 15)).cut_count == 0
    assert SETTLE_S <= time.monotonic() - began_s < QUIET_S
    await check_late_client(bench, address)


async def check_late_client(bench: Bench, address: str) -> None:
    """A call that is no probe keeps a draining instance for the whole quiet time, also one that comes after the drain began."""
    began_s = time.monotonic()
    bench.engine.drain(drain(now_s() + 60))
    await asyncio.sleep(SETTLE_S / 2)
    async with open_channel(address) as channel:
        await cast(Any, oip_grpc.GRPCInferenceServiceStub(channel)).ModelInfer(
            golden_request(KEY.version, Task.EMBEDDING, 0)
        )
    await bench.wait_for(EngineDrained, 15)
    assert time.monotonic() - began_s >= SETTLE_S / 2 + QUIET_S
    assert not any(isinstance(event, EngineDrained) for event in bench.events)


async def test_a_bad_checkpoint_is_given_up_and_its_worker_ends(checkpoints: Checkpoints, state_dir: Path) -> None:
    """Weights with NaN are not tried again: the reason is the engine's own."""
    async with open_bench(state_dir) as bench:
        bench.engine.start(start(checkpoints.poisoned))
        failure = (await bench.wait_for(EngineGaveUp)).failure
        assert failure.reason is Reason.ENGINE_START_FAILED
        assert "not finite (NaN or an infinity)" in failure.message
        assert "load.failed" in failure.message
        bench.engine.stop(stop())
        await bench.wait_for(EngineStopped, 10)
        assert bench.workers() == []


async def test_a_leader_on_standby_is_kept_taken_refilled_and_adopted(
    checkpoints: Checkpoints, state_dir: Path
) -> None:
    """A load takes the standby; no new one comes while refills are held; a warming standby is adopted, a surplus one ended."""
    async with open_bench(state_dir, standby_count=1) as bench:
        bench.engine.open()
        await until(lambda: len(bench.workers()) == 1)
        (standby,) = bench.workers()
        await until(lambda: bench.engine.standby_count, 100)
        bench.engine.hold_refill(held=True)
        bench.engine.start(start(checkpoints.encoder))
        await bench.wait_for(EngineReady, 10)
        assert bench.workers() == [standby]
        bench.engine.hold_refill(held=False)
        await until(lambda: len(bench.workers()) == 2)
        bench.engine.stop(stop())
        await bench.wait_for(EngineStopped, 10)
        (refilled,) = bench.workers()
        launch("surplus", launch_options(bench.state_dir), urgent=False)
        await until(
            lambda: len(bench.workers()) == 2
        )  # in its very first moment a process cannot be told from its parent
        async with open_bench(state_dir, standby_count=1) as other:
            assert await other.engine.adopt() == ()
            assert await other.engine.sweep(frozenset()) == 1
            assert len(other.workers()) == 1
            assert {*other.workers()} < {refilled, "surplus"}


async def test_no_orphan_from_between_spawn_and_first_report(state_dir: Path) -> None:
    """A worker that a dead daemon had just spawned is found by its arguments and ended."""
    pid = launch("orphan", launch_options(state_dir), urgent=False)
    async with open_bench(state_dir) as bench:
        assert await bench.engine.adopt() == ()
        await bench.engine.sweep(frozenset())
        # In its very first moment a process has no arguments yet; the second look finds it.
        await until(lambda: not is_running(pid))
        assert bench.workers() == []


async def test_one_whose_record_is_damaged_is_ended(state_dir: Path) -> None:
    """Nobody knows what it serves, and no load waits for it; its memory is free before another takes its place."""
    pid = launch("damaged", launch_options(state_dir), urgent=False)
    await until(lambda: [record for record in read_records(state_dir) if record.address], 20)
    (state_dir / "instances" / "damaged.json").write_text("{}")
    async with open_bench(state_dir, standby_count=1) as bench:
        assert await bench.engine.adopt() == ()
        assert await bench.engine.sweep(frozenset()) == 1
        await until(lambda: not is_running(pid))
        assert bench.workers() == []


async def test_an_instance_that_nobody_owns_is_ended(state_dir: Path) -> None:
    """A worker whose record names an instance that the store does not know is killed, and answers as stopped."""
    pid = launch("unowned", launch_options(state_dir), urgent=False)
    await until(lambda: [record for record in read_records(state_dir) if record.address], 20)
    (record,) = read_records(state_dir)
    path = state_dir / "instances" / "unowned.json"
    path.write_text(
        record.to_json().replace('"instance": ""', '"instance": "m/v1#0"').replace('"WARMING"', '"LOADING"')
    )
    (found,) = scan(state_dir)
    assert found.record is not None
    assert found.record.phase is WorkerPhase.LOADING
    async with open_bench(state_dir) as bench:
        assert len(await bench.engine.adopt()) == 1
        assert await bench.engine.sweep(frozenset({(KEY, 7)})) == 1
        await bench.wait_for(EngineStopped, 5)
        assert not is_running(pid)


async def test_stopping_while_a_worker_warms_up_leaves_nothing(checkpoints: Checkpoints, state_dir: Path) -> None:
    """A load that is given up before its worker is warm ends that worker."""
    async with open_bench(state_dir) as bench:
        bench.engine.start(start(checkpoints.encoder))
        await asyncio.sleep(1.0)
        assert len(bench.workers()) == 1
        bench.engine.stop(stop())
        await bench.wait_for(EngineStopped, 5)
        await until(lambda: not bench.workers())
        assert not any(isinstance(event, EngineReady) for event in bench.events)


async def test_a_worker_that_dies_while_it_warms_up_is_lost(checkpoints: Checkpoints, state_dir: Path) -> None:
    """The start answers with the loss, so that the core tries again."""
    async with open_bench(state_dir) as bench:
        bench.engine.start(start(checkpoints.encoder))
        await asyncio.sleep(1.0)
        (worker,) = scan(bench.state_dir)
        os.kill(worker.pid, signal.SIGKILL)
        assert "SIGKILL" in (await bench.wait_for(EngineLost, 5)).detail


async def test_a_worker_that_dies_once_it_has_passed_holds_up_no_standby(
    checkpoints: Checkpoints, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its probes and its next report: the probe ends with it, and so nobody waits for a load any more."""
    async with open_bench(state_dir) as bench:
        bench.engine.start(start(checkpoints.encoder))
        ready = await bench.wait_for(EngineReady)
        told = WatchedInstance.next_report

        async def next_report(watched: WatchedInstance) -> Report:
            watched.leader.process.kill()
            return await told(watched)

        monkeypatch.setattr(WatchedInstance, "next_report", next_report)
        bench.engine.probe(probe(ready))
        await bench.wait_for(ProbesPassed)
        await bench.wait_for(EngineLost)
        await until(lambda: not bench.engine._jobs.is_loading)


async def test_effects_for_unknown_instances_are_answered(state_dir: Path) -> None:
    """Probing and draining what has no process is a loss, stopping it is done."""
    async with open_bench(state_dir) as bench:
        bench.engine.probe(probe(EngineReady(0.0, KEY, 1, endpoints("127.0.0.1:1"), "w1")))
        await bench.wait_for(EngineLost, 5)
        bench.engine.drain(drain(now_s() + 60))
        await bench.wait_for(EngineLost, 5)
        bench.engine.undrain(KEY, 1)
        bench.engine.stop(stop())
        assert (await bench.wait_for(EngineStopped, 5)).instance == KEY


async def test_a_probe_of_a_dead_address_fails_with_a_reason() -> None:
    """A single probe never raises."""
    prober = OipProber(time.monotonic)
    outcome = await prober.probe_once(KEY.version, facts(), "127.0.0.1:1", 0)
    assert not outcome.ok
    assert "UNAVAILABLE" in outcome.detail
    await prober.close()
