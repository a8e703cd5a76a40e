"""The workers of one state directory: which instance has which, who is a spare, who is nobody's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from echoplaned.core.endpoints import EndpointProtocol, tcp_endpoint
from echoplaned.core.events import EngineLost, EngineStopped, EngineStuck, FoundEngine, MemoryMeasured
from echoplaned.core.ids import InstanceKey
from echoplaned.engines.instance import CounterSink, Tracing, WatchedInstance
from echoplaned.engines.inventory import FoundWorker, scan
from echoplaned.engines.processes import ExitInfo, NoSuchProcessError
from echoplaned.engines.spares import SparePool
from echoplaned.engines.worker_process import WorkerProcess
from echoplaned.ports.emit import Clock, Emit

_CHECK_INTERVAL_S: Final = 1.0
_LATE_SWEEP_S: Final = 5.0

Key = tuple[InstanceKey, int]
"""An instance and its generation."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Clocks:
    """``wall``: seconds since the epoch, for events. ``monotonic``: seconds, for intervals."""

    wall: Clock
    monotonic: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Outlets:
    """Where a crew's news goes: ``emit`` takes events, ``sink`` the workers' counters, ``tracing`` what requests said; None: nobody."""

    emit: Emit
    sink: CounterSink
    tracing: Tracing | None = None


class Crew:
    """Watches the workers of a state directory and tells of their end, of stuck ones and of growing memory.

    Args:
        state_dir: where they keep their records; absolute, without links.
        spares: the pool of spares.
        outlets: where the news goes.
        clocks: the time.
    """

    def __init__(self, state_dir: Path, spares: SparePool, outlets: Outlets, clocks: Clocks) -> None:
        self._state_dir = state_dir
        self._spares = spares
        self._outlets = outlets
        self._clocks = clocks
        self._instances: dict[Key, WatchedInstance] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    def get(self, key: Key) -> WatchedInstance | None:
        """Return the instance's worker, if it has one."""
        return self._instances.get(key)

    def pid_of(self, leader_id: str) -> int:
        """Return the process id of the worker with this id that serves an instance; 0: there is none."""
        workers = (watched.worker for watched in self._instances.values())
        return next((worker.process.pid for worker in workers if worker.worker_id == leader_id), 0)

    @property
    def is_idle(self) -> bool:
        """Whether no worker serves an instance."""
        return not self._instances

    def open(self) -> None:
        """Begin to look for stuck workers."""
        self.spawn(self._check_forever())

    async def close(self) -> None:
        """Let go of every worker; they go on."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for instance in self._instances.values():
            await instance.worker.let_go()
        self._instances.clear()

    async def hire(self, key: Key) -> WatchedInstance:
        """Give a spare to an instance.

        Raises:
            NotWarmError: there was none to be had.
        """
        return self._watch(key, await self._spares.take())

    async def adopt(self) -> tuple[FoundEngine, ...]:
        """Find the workers that outlived the last daemon and watch them; spares go to the pool."""
        found: list[FoundEngine] = []
        for worker in await asyncio.to_thread(scan, self._state_dir):
            if worker.is_spare:
                self._adopt_spare(worker)
            else:
                found.extend(self._adopt_instance(worker))
        log.info("engines.adopted", instances=len(found), spares=len(self._spares.worker_ids))
        return tuple(found)

    async def sweep(self, owned: frozenset[Key]) -> int:
        """Kill every worker that is neither owned nor a wanted spare; return how many.

        Looks once more a few seconds later, for a process that could not yet be told from its parent.
        """
        killed = await self._spares.shrink()
        for key, watched in list(self._instances.items()):
            if key not in owned:
                log.warning("engine.unowned", instance=str(key[0]), generation=key[1], pid=watched.worker.process.pid)
                watched.stopping = True
                watched.worker.process.kill_group()
                await watched.worker.process.wait()
                killed += 1
        killed += await self._kill_strangers()
        self.spawn(self._sweep_again())
        return killed

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run something until ``close``; an error in it is logged."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(log_error)
        return task

    def _watch(self, key: Key, worker: WorkerProcess) -> WatchedInstance:
        watched = WatchedInstance(key, worker, self._outlets.sink, self._clocks.monotonic)
        self._instances[key] = watched
        followers = [self.spawn(watched.follow())]
        if self._outlets.tracing is not None:
            followers.append(self.spawn(watched.follow_traces(self._outlets.tracing)))
        worker.process.on_exit(lambda info: self._exited(watched, followers, info))
        return watched

    def _exited(self, watched: WatchedInstance, followers: list[asyncio.Task[None]], info: ExitInfo) -> None:
        """An instance's process has gone."""
        self._instances.pop(watched.key, None)
        for follower in followers:
            follower.cancel()
        watched.ended()
        if self._outlets.tracing is not None:
            self._outlets.tracing.sink.ended(watched.key[0].version, watched.worker.worker_id)
        if self._closing:
            return
        self.spawn(watched.worker.let_go())
        now_s = self._clocks.wall()
        if watched.stopping:
            self._outlets.emit(EngineStopped(now_s, *watched.key))
        else:
            self._outlets.emit(EngineLost(now_s, *watched.key, watched.worker.describe_end(info)))

    async def _check_forever(self) -> None:
        while True:
            await asyncio.sleep(_CHECK_INTERVAL_S)
            for watched in list(self._instances.values()):
                self._check(watched)

    def _check(self, watched: WatchedInstance) -> None:
        """Tell once if a worker is stuck, and each time its memory has grown."""
        why = watched.why_stuck()
        if why and not watched.stuck and not watched.stopping:
            watched.stuck = True
            self._outlets.emit(EngineStuck(self._clocks.wall(), *watched.key, why))
        grown = watched.grown_memory()
        if grown is not None:
            usage = watched.last_report.usage if watched.last_report else None
            self._outlets.emit(MemoryMeasured(self._clocks.wall(), *watched.key, grown, usage))

    def _adopt_spare(self, found: FoundWorker) -> None:
        try:
            self._spares.adopt(WorkerProcess.adopt(self._state_dir, found))
        except NoSuchProcessError:
            return

    def _adopt_instance(self, found: FoundWorker) -> list[FoundEngine]:
        """Watch a worker that has an instance; nothing if it has gone meanwhile, or if its record makes no sense."""
        record = found.record
        if record is None:
            return []
        try:
            instance = InstanceKey.parse(record.instance)
            worker = WorkerProcess.adopt(self._state_dir, found)
        except (ValueError, NoSuchProcessError):
            return []
        self._watch((instance, record.generation), worker).count_from_now()
        endpoints = (tcp_endpoint(EndpointProtocol.OIP_GRPC, record.address),) if record.address else ()
        return [FoundEngine(instance, record.generation, endpoints, record.worker_id)]

    async def _kill_strangers(self) -> int:
        """Kill the workers of this state directory that are neither instances nor spares nor on their way from one to the other."""
        killed = 0
        before = self._ours()
        for found in await asyncio.to_thread(scan, self._state_dir):
            if found.worker_id in before | self._ours():
                continue
            try:
                worker = WorkerProcess.adopt(self._state_dir, found)
            except NoSuchProcessError:
                continue
            log.warning("engine.stranger", worker=found.worker_id, pid=found.pid)
            worker.process.kill_group()
            await worker.process.wait()
            await worker.let_go()
            killed += 1
        return killed

    def _ours(self) -> frozenset[str]:
        return self._spares.worker_ids | {watched.worker.worker_id for watched in self._instances.values()}

    async def _sweep_again(self) -> None:
        await asyncio.sleep(_LATE_SWEEP_S)
        await self._kill_strangers()


def log_error(task: asyncio.Task[None]) -> None:
    """Log what a task raised: a mistake of ours that must not be silent."""
    if not task.cancelled() and task.exception() is not None:
        log.error("engine.task_failed", task=task.get_name(), exc_info=task.exception())
