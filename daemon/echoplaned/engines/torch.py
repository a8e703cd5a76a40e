"""The embedded torch engine: worker processes of ours, started from warm spares, probed, drained, stopped and adopted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import grpc
import structlog

from echoplaned.core.effects import DrainEngine, ProbeEngine, StartEngine, StopEngine
from echoplaned.core.endpoints import EndpointProtocol, tcp_endpoint
from echoplaned.core.events import (
    EngineDrained,
    EngineGaveUp,
    EngineLost,
    EngineReady,
    EngineStopped,
    FoundEngine,
    MemoryMeasured,
    ProbesFailed,
    ProbesPassed,
)
from echoplaned.core.failure import Failure, Reason
from echoplaned.core.ids import InstanceKey
from echoplaned.engines.crew import Clocks, Crew, Key, Outlets, log_error
from echoplaned.engines.instance import WatchedInstance
from echoplaned.engines.launcher import LaunchOptions
from echoplaned.engines.probing import ProbeFailedError, probe_all
from echoplaned.engines.spares import SparePool
from echoplaned.engines.worker_client import WorkerRefusedError
from echoplaned.engines.worker_process import NotWarmError

QUIET_S: Final = 5.0
"""An instance is quiet when no call is in flight and none arrived for so long; the daemon's own probes are none."""

SETTLE_S: Final = 1.0
"""A drain takes at least so long: a client acknowledges routes a moment before it follows them."""

_STOP_GRACE_S: Final = 2.0
_STOP_TIMEOUT_S: Final = 5.0
_DEATH_TIMEOUT_S: Final = 10.0
_REFILL_AFTER_S: Final = 1.0
"""Pause after a start or its probes before new spares are made: between the two the core has its turn."""
_BROKEN_OFF_S: Final = 2.0

# A load that ended with one of these would end the same way again.
_FINAL_CODES: Final = frozenset({grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INVALID_ARGUMENT})

_LOADING: Final = frozenset({"start", "probe"})

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TorchOptions:
    """Settings of the torch engine. ``spare_count``: warm workers kept in reserve."""

    launch: LaunchOptions
    spare_count: int = 1


class TorchEngine:
    """Implements the ``Engines`` port for workers of ours. Everything happens on the event loop.

    Args:
        options: settings.
        outlets: ``emit`` takes the results, ``sink`` the workers' counters.
        clocks: the time.
        new_worker_id: draws an id for a worker: lower-case letters, digits and dashes.
    """

    def __init__(
        self, options: TorchOptions, outlets: Outlets, clocks: Clocks, new_worker_id: Callable[[], str]
    ) -> None:
        launch = replace(options.launch, state_dir=options.launch.state_dir.resolve())
        self.launch = launch
        self._emit = outlets.emit
        self._now_s = clocks.wall
        self._spares = SparePool(launch, options.spare_count, new_worker_id)
        self._crew = Crew(launch.state_dir, self._spares, outlets, clocks)
        self._jobs: dict[tuple[str, Key], asyncio.Task[None]] = {}
        self._closing = False

    # --- the engine's own life ---

    def open(self) -> None:
        """Begin to keep spares and to look for stuck workers; after ``adopt`` and ``sweep``."""
        self._spares.refill(urgent=self._crew.is_idle)
        self._crew.open()

    def hold_refill(self, *, held: bool) -> None:
        """Make no spares while a rollout is being judged, so that they do not disturb what is measured; or go on."""
        self._spares.hold(held=held)

    @property
    def warm_spare_count(self) -> int:
        """Spares that a load can take without waiting."""
        return self._spares.warm_count

    async def close(self) -> None:
        """Let go of everything and end the spares; serving workers go on for the next daemon to adopt."""
        self._closing = True
        jobs = list(self._jobs.values())
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        await self._spares.close()
        await self._crew.close()

    # --- the port ---

    def start(self, effect: StartEngine) -> None:
        """Give a warm spare to the instance, or take the process that runs already for this generation."""
        self._job("start", (effect.instance, effect.generation), lambda: self._start(effect))

    def probe(self, effect: ProbeEngine) -> None:
        """Send the golden prompts; then report the memory."""
        self._job("probe", (effect.instance, effect.generation), lambda: self._probe(effect))

    def drain(self, effect: DrainEngine) -> None:
        """Wait until no call is in flight and none arrived for ``QUIET_S``, for ``SETTLE_S`` at least; or for the deadline."""
        self._job("drain", (effect.instance, effect.generation), lambda: self._drain(effect))

    def undrain(self, instance: InstanceKey, generation: int) -> None:
        """Give a drain up without an answer."""
        task = self._jobs.pop(("drain", (instance, generation)), None)
        if task is not None:
            task.cancel()
        watched = self._crew.get((instance, generation))
        if watched is not None:
            self._crew.spawn(watched.worker.client.mark_draining(generation, draining=False))

    def stop(self, effect: StopEngine) -> None:
        """End the process: politely, then not."""
        key = (effect.instance, effect.generation)
        self._job("stop", key, lambda: self._stop(key))

    async def adopt(self) -> tuple[FoundEngine, ...]:
        """Find the workers that outlived the last daemon and watch them; those that still load are among them."""
        return await self._crew.adopt()

    async def sweep(self, owned: frozenset[Key]) -> int:
        """Kill every worker of this state directory that is neither owned nor a wanted spare; return how many."""
        return await self._crew.sweep(owned)

    def pid_of(self, leader_id: str) -> int:
        """Return the process id of the worker that serves an instance under this id; 0: there is none."""
        return self._crew.pid_of(leader_id)

    # --- start ---

    async def _start(self, effect: StartEngine) -> None:
        key = (effect.instance, effect.generation)
        if len(effect.placement.shares) > 1:
            self._give_up(key, f"this engine runs on one device, not on {', '.join(effect.placement.device_ids)}")
            return
        watched = self._crew.get(key)
        try:
            if watched is None:
                watched = await self._crew.hire(key)
            await watched.worker.client.load(effect)
        except NotWarmError as error:
            if error.final:
                self._give_up(key, f"the engine cannot start: {error}")
            else:
                self._lost(key, f"no worker became warm: {error}")
        except WorkerRefusedError as error:
            if watched is not None:
                self._load_failed(watched, error)
        else:
            worker = watched.worker
            endpoints = (tcp_endpoint(EndpointProtocol.OIP_GRPC, worker.client.address),)
            self._emit(EngineReady(self._now_s(), *key, endpoints, worker.worker_id))

    def _load_failed(self, watched: WatchedInstance, error: WorkerRefusedError) -> None:
        if error.code in _FINAL_CODES:
            tail = watched.worker.log_tail()
            self._give_up(watched.key, f"the engine cannot load the version: {error}\nits last lines:\n{tail}")
            return
        # Worth another process. This one is of no use any more, and the core waits for its end.
        log.warning("engine.load_failed", instance=str(watched.key[0]), code=error.code.name, detail=str(error))
        watched.worker.process.kill_group()

    # --- probe ---

    async def _probe(self, effect: ProbeEngine) -> None:
        key = (effect.instance, effect.generation)
        watched = self._crew.get(key)
        if watched is None:
            self._lost(key, "it has no process")
            return
        try:
            channel = watched.worker.client.channel
            count = await probe_all(channel, effect.instance.version, effect.facts, watched.probe_sent)
        except ProbeFailedError as error:
            # A process that is dying breaks its calls off first; then it is lost, which is no verdict on the version.
            if not (error.unavailable and await _ends_within(watched, _BROKEN_OFF_S)):
                self._emit(ProbesFailed(self._now_s(), *key, str(error)))
            return
        self._emit(ProbesPassed(self._now_s(), *key, f"{count}/{count}"))
        report = await watched.next_report()
        watched.measured_bytes = report.model_bytes
        watched.told_tokens = report.usage.sequences * report.usage.tokens if report.usage else 0
        self._emit(MemoryMeasured(self._now_s(), *key, report.model_bytes, report.usage))

    # --- drain and stop ---

    async def _drain(self, effect: DrainEngine) -> None:
        key = (effect.instance, effect.generation)
        watched = self._crew.get(key)
        if watched is None:
            self._lost(key, "it has no process")
            return
        await watched.worker.client.mark_draining(effect.generation, draining=True)
        cut = 0
        try:
            async with asyncio.timeout(max(0.0, effect.deadline_s - self._now_s())):
                await asyncio.sleep(SETTLE_S)
                await _quiet(watched)
        except TimeoutError:
            cut = watched.last_report.counts.in_flight if watched.last_report else 0
        self._emit(EngineDrained(self._now_s(), *key, cut))

    async def _stop(self, key: Key) -> None:
        others = [task for kind in ("start", "probe", "drain") if (task := self._jobs.get((kind, key))) is not None]
        for task in others:
            task.cancel()
        # After this a start has made an instance of its worker, or has ended it.
        await asyncio.gather(*others, return_exceptions=True)
        watched = self._crew.get(key)
        if watched is None:
            self._emit(EngineStopped(self._now_s(), *key))
            return
        watched.stopping = True
        if not await self._ends_politely(watched):
            watched.worker.process.kill_group()
            if not await _ends_within(watched, _DEATH_TIMEOUT_S):
                pid = watched.worker.process.pid
                self._give_up(key, f"process {pid} does not die; its memory stays reserved until it does")

    async def _ends_politely(self, watched: WatchedInstance) -> bool:
        """Ask a worker to end and wait a little; a stuck one is not asked."""
        if watched.stuck:
            return False
        if not await watched.worker.client.shut_down(_STOP_GRACE_S):
            watched.worker.process.terminate()
        return await _ends_within(watched, _STOP_TIMEOUT_S)

    # --- small parts ---

    def _job(self, kind: str, key: Key, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Run one job of an instance's generation, unless it runs already."""
        if (kind, key) in self._jobs or self._closing:
            return
        task = asyncio.create_task(work(), name=f"{kind} {key[0]}.{key[1]}")
        self._jobs[kind, key] = task
        task.add_done_callback(lambda done: self._finished(kind, key, done))

    def _finished(self, kind: str, key: Key, task: asyncio.Task[None]) -> None:
        if self._jobs.get((kind, key)) is task:
            del self._jobs[kind, key]
        log_error(task)
        if kind in _LOADING and not self._closing:
            asyncio.get_running_loop().call_later(_REFILL_AFTER_S, self._refill)

    def _refill(self) -> None:
        """Make spares, unless somebody waits for a load, which must not share its core with the warming."""
        if not any(kind in _LOADING for kind, _ in self._jobs):
            self._spares.refill()

    def _lost(self, key: Key, detail: str) -> None:
        self._emit(EngineLost(self._now_s(), *key, detail))

    def _give_up(self, key: Key, message: str) -> None:
        self._emit(EngineGaveUp(self._now_s(), *key, Failure(Reason.ENGINE_START_FAILED, message)))


async def _quiet(watched: WatchedInstance) -> None:
    """Return when a worker reports no call in flight and none that arrived lately."""
    while True:
        report = await watched.next_report()
        if report.counts.in_flight == 0 and (report.idle_s is None or report.idle_s >= QUIET_S):
            return


async def _ends_within(watched: WatchedInstance, timeout_s: float) -> bool:
    """Wait for the end of a worker's process; whether it came."""
    try:
        async with asyncio.timeout(timeout_s):
            await watched.worker.process.wait()
    except TimeoutError:
        return False
    return True


def default_bytecode_cache(home: Path) -> Path:
    """Return where workers keep compiled bytecode if they may not keep it beside the sources."""
    return home / ".cache" / "echoplane" / "bytecode"
