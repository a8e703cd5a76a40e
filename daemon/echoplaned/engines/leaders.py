"""The leaders of one state directory.

Which instance has which, who is on standby, and whose engine belongs to no instance.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from echoplaned.core.endpoints import oip_target
from echoplaned.core.engine_events import (
    EngineLost,
    EngineReporting,
    EngineSilent,
    EngineStopped,
    EngineStuck,
    MemoryMeasured,
    ProbesFailed,
)
from echoplaned.core.events import FoundEngine
from echoplaned.core.ids import InstanceKey
from echoplaned.engine_kinds import EngineKind
from echoplaned.engines.instance import InstanceLimits, StuckLimits, WatchedInstance
from echoplaned.engines.inventory import ForeignRecord, FoundLeader, Inventory, family_of, take_inventory
from echoplaned.engines.jobs import log_error
from echoplaned.engines.leader_process import LeaderProcess, forget_record
from echoplaned.engines.processes import ExitInfo, NoSuchProcessError
from echoplaned.engines.serving_prober import FactsOf, ServingProber
from echoplaned.engines.sinks import CounterSink, Tracing
from echoplaned.engines.standby import StandbyPool
from echoplaned.ports.emit import Clock, Emit
from echoplaned.ports.faults import ReportFault
from echoplaned.worker_contract.family import Family, end_family, find_marked
from echoplaned.worker_contract.mark import make_mark, read_state_dir_id
from echoplaned.worker_contract.record import WorkerPhase, WorkerRecord, read_boot_id, records_dir

_CHECK_INTERVAL_S: Final = 0.25
_LATE_SWEEP_S: Final = 5.0
_END_TIMEOUT_S: Final = 10.0

Key = tuple[InstanceKey, int]
"""An instance and its generation."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Clocks:
    """The clocks of the engine adapter.

    Attributes:
        wall: seconds since the epoch, for events.
        monotonic: seconds from any origin, never set back, for intervals.
    """

    wall: Clock
    monotonic: Callable[[], float]


@dataclass(frozen=True, slots=True)
class EngineSinks:
    """Where the news of engines goes.

    Attributes:
        emit: receiver of events.
        counters: receiver of the engines' own counters.
        failed: receiver of what a job of an engine raised that nobody foresaw.
        tracing: receiver of traces of requests; None: nobody.
        facts_of: lookup of what is known of a version, by which its engines are probed while they serve.
    """

    emit: Emit
    counters: CounterSink
    failed: ReportFault
    tracing: Tracing | None = None
    facts_of: FactsOf = lambda _version: None


@dataclass(frozen=True, slots=True)
class LeaderHome:
    """Where leaders live, and how they are judged.

    Attributes:
        state_dir: directory where they keep their records; absolute, without links.
        stuck: limits beyond which a live one counts as stuck.
    """

    state_dir: Path
    stuck: StuckLimits


class Leaders:
    """Watches the leaders of a state directory.

    It emits events of their end, of stuck ones and of growing memory.

    Args:
        home: where they live.
        pools: who is on standby, by kind; every kind that is known.
        sinks: where the news goes.
        clocks: the time.
    """

    def __init__(
        self, home: LeaderHome, pools: Mapping[EngineKind, StandbyPool], sinks: EngineSinks, clocks: Clocks
    ) -> None:
        self._state_dir = home.state_dir
        self._stuck = home.stuck
        self._pools = pools
        self._sinks = sinks
        self._clocks = clocks
        self._instances: dict[Key, WatchedInstance] = {}
        self._probing: dict[Key, asyncio.Task[None]] = {}
        self._foreign: tuple[ForeignRecord, ...] = ()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    def get(self, key: Key) -> WatchedInstance | None:
        """Return the instance's leader, if it has one."""
        return self._instances.get(key)

    def pid_of(self, leader_id: str) -> int:
        """Return the pid of the leader with this id; 0: it leads no instance."""
        leaders = (watched.leader for watched in self._instances.values())
        return next((one.process.pid for one in leaders if one.worker_id == leader_id), 0)

    @property
    def pids(self) -> frozenset[int]:
        """The processes that lead instances; may be read from any thread."""
        return frozenset(watched.leader.process.pid for watched in tuple(self._instances.values()))

    def control_key_at(self, address: str) -> str:
        """Return the control key of the leader at an address, ``HOST:PORT``.

        Its instance answers there. Empty: it has none, or there is no such leader.
        """
        leaders = (watched.leader for watched in self._instances.values())
        return next((one.control_key for one in leaders if oip_target(one.endpoints) == address), "")

    @property
    def is_idle(self) -> bool:
        """Whether no leader serves an instance."""
        return not self._instances

    @property
    def alarms(self) -> tuple[str, ...]:
        """What somebody should look at, one sentence each."""
        return tuple(map(str, self._foreign))

    def open(self) -> None:
        """Begin to look for stuck leaders."""
        self.spawn(self._check_forever())

    async def close(self) -> None:
        """Let go of every leader; they go on."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for instance in self._instances.values():
            await instance.leader.detach()
        self._instances.clear()

    async def assign(self, key: Key, kind: EngineKind) -> WatchedInstance:
        """Give a leader of a kind to an instance.

        Raises:
            NotReadyError: there was none to be had.
        """
        state_dir_id = read_state_dir_id(records_dir(self._state_dir))
        mark = make_mark(state_dir_id, str(key[0]), key[1])
        return self._watch(key, await self._pools[kind].take(mark))

    async def adopt(self) -> tuple[FoundEngine, ...]:
        """Find the leaders that outlived the last daemon and watch them.

        Those on standby go to their pool. What the engine of a dead leader left is ended first, so that its memory is free before
        another one is started.
        """
        inventory = await self._take_inventory()
        await asyncio.to_thread(self._end_dead, inventory.dead)
        found: list[FoundEngine] = []
        died: list[WorkerRecord] = []
        for leader in inventory.leaders:
            try:
                found.extend(self._adopt(leader))
            except NoSuchProcessError:
                died.extend(filter(None, [leader.record]))
        await asyncio.to_thread(self._end_dead, tuple(died))
        standby_count = sum(len(pool.worker_ids) for pool in self._pools.values())
        log.info("engines.adopted", instances=len(found), standby=standby_count)
        return tuple(found)

    async def sweep(self, owned: frozenset[Key]) -> int:
        """Kill every engine that is neither owned nor needed on standby.

        Returns how many. Looks once more a few seconds later, for a process that could not yet be told from its parent.
        """
        killed = sum([await pool.shrink() for pool in self._pools.values()])
        for key, watched in list(self._instances.items()):
            if key not in owned:
                log.warning("engine.unowned", instance=str(key[0]), generation=key[1], pid=watched.leader.process.pid)
                watched.stopping = True
                watched.leader.kill()
                if not await watched.leader.ends_within(_END_TIMEOUT_S):
                    log.warning("engine.not_ended", instance=str(key[0]), pid=watched.leader.process.pid)
                killed += 1
        killed += await self._end_orphans()
        self.spawn(self._sweep_again())
        return killed

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run something until ``close``; an error in it is logged."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(log_error)
        return task

    def stuck(self, watched: WatchedInstance, why: str) -> None:
        """Tell once that an instance makes no progress."""
        if not watched.stuck and not watched.stopping:
            watched.stuck = True
            # A probe that waits would count as a call in flight until the end.
            probing = self._probing.pop(watched.key, None)
            if probing is not None:
                probing.cancel()
            self._sinks.emit(EngineStuck(self._clocks.wall(), *watched.key, why))

    def _watch(self, key: Key, leader: LeaderProcess) -> WatchedInstance:
        limits = InstanceLimits(leader.kind.limits, self._stuck)
        watched = WatchedInstance(key, leader, self._sinks.counters, self._clocks.monotonic, limits)
        self._instances[key] = watched
        prober = ServingProber(watched, self._sinks.facts_of, self._clocks.wall, self._probe_failed)
        probing = self._probing[key] = self.spawn(prober.run())
        followers = [self.spawn(watched.follow()), probing]
        if self._sinks.tracing is not None:
            followers.append(self.spawn(watched.follow_traces(self._sinks.tracing)))
        leader.process.on_exit(lambda _: self._leader_died(watched, followers))
        leader.on_gone(lambda info: self._gone(watched, info))
        return watched

    def _probe_failed(self, watched: WatchedInstance, why: str) -> None:
        """An engine that serves answers wrongly."""
        self._sinks.emit(ProbesFailed(self._clocks.wall(), *watched.key, why))

    def _leader_died(self, watched: WatchedInstance, followers: list[asyncio.Task[None]]) -> None:
        """Stop following a leader whose process has ended.

        No more reports come; the rest of its engine is being ended.
        """
        for follower in followers:
            follower.cancel()
        watched.on_ended()
        if self._sinks.tracing is not None:
            self._sinks.tracing.sink.on_ended(watched.key[0].version, watched.leader.worker_id)

    def _gone(self, watched: WatchedInstance, info: ExitInfo) -> None:
        """No process of an instance is left."""
        self._instances.pop(watched.key, None)
        self._probing.pop(watched.key, None)
        if self._closing:
            return
        self.spawn(watched.leader.detach())
        now_s = self._clocks.wall()
        if watched.stopping:
            self._sinks.emit(EngineStopped(now_s, *watched.key))
        else:
            self._sinks.emit(EngineLost(now_s, *watched.key, watched.leader.describe_end(info)))

    async def _check_forever(self) -> None:
        while True:
            await asyncio.sleep(_CHECK_INTERVAL_S)
            for watched in list(self._instances.values()):
                self._check(watched)

    def _check(self, watched: WatchedInstance) -> None:
        """Tell once if an engine is stuck, and each time its memory has grown."""
        why = watched.why_stuck()
        if why:
            self.stuck(watched, why)
        silent = watched.look_for_silence()
        if silent is not watched.was_silent:
            watched.was_silent = silent
            kind = EngineSilent if silent else EngineReporting
            self._sinks.emit(kind(self._clocks.wall(), *watched.key))
        grown = watched.grown_memory()
        if grown is not None:
            usage = watched.last_report.usage if watched.last_report else None
            self._sinks.emit(MemoryMeasured(self._clocks.wall(), *watched.key, grown, usage))

    def _adopt(self, found: FoundLeader) -> list[FoundEngine]:
        """Put a leader on standby, or watch its instance.

        Nothing is done if its record makes no sense.

        Raises:
            NoSuchProcessError: it has gone meanwhile.
        """
        record = found.record
        if found.is_standby:
            self._pools[found.kind].adopt(LeaderProcess.adopt(self._state_dir, found))
            return []
        if record is None:
            return []
        try:
            instance = InstanceKey.parse(record.instance)
        except ValueError:
            return []
        leader = LeaderProcess.adopt(self._state_dir, found)
        watched = self._watch((instance, record.generation), leader)
        watched.count_from_now()
        # Whoever started it has probed it, or the core will have it probed again.
        watched.is_accepted = record.phase is WorkerPhase.READY
        return [FoundEngine(instance, record.generation, record.endpoints, record.worker_id)]

    async def _take_inventory(self) -> Inventory:
        inventory = await asyncio.to_thread(take_inventory, self._state_dir, tuple(self._pools))
        for one in inventory.foreign:
            if one not in self._foreign:
                log.error("record.left_alone", worker=one.worker_id, pid=one.family.leader_pid, detail=str(one))
        self._foreign = inventory.foreign
        return inventory

    def _end_dead(self, dead: tuple[WorkerRecord, ...]) -> None:
        """End what the engines of dead leaders left, and forget their records. Blocking."""
        boot_id = read_boot_id()
        for record in dead:
            if record.boot_id != boot_id or end_family(family_of(record), _END_TIMEOUT_S):
                forget_record(self._state_dir, record.worker_id)

    async def _end_orphans(self) -> int:
        """Kill every engine of this state directory that belongs to nothing.

        That is to no instance, no pool and no foreign record. Returns how many engines were killed.
        """
        before = self._known()
        inventory = await self._take_inventory()
        killed = 0
        for found in inventory.leaders:
            if found.worker_id in before | self._known():
                continue
            log.warning("orphan.ended", worker=found.worker_id, pid=found.pid)
            await asyncio.to_thread(end_family, found.family, _END_TIMEOUT_S)
            forget_record(self._state_dir, found.worker_id)
            killed += 1
        return killed + await self._end_marked(inventory)

    async def _end_marked(self, inventory: Inventory) -> int:
        """Kill processes whose mark names a leader that nobody knows any more.

        The mark is one of this state directory. Returns how many engines were killed.
        """
        try:
            state_dir_id = read_state_dir_id(records_dir(self._state_dir))
        except OSError as error:
            # It has none yet, and none can be written: then no process carries it.
            log.warning("orphan_scan.failed", detail=str(error))
            return 0
        before = self._marks()
        found = await asyncio.to_thread(find_marked, state_dir_id)
        known = before | self._marks() | {one.family.mark for one in inventory.foreign}
        # A foreign leader whose record names no mark is known by its session.
        foreign_sessions = {one.family.leader_pid for one in inventory.foreign}
        orphans = {mark: one for one, mark in found if mark not in known and one.session not in foreign_sessions}
        for mark, one in orphans.items():
            log.warning("orphan.ended", mark=mark, pid=one.pid)
            await asyncio.to_thread(end_family, Family(0, 0, mark), _END_TIMEOUT_S)
        return len(orphans)

    def _known(self) -> frozenset[str]:
        standby = [worker_id for pool in self._pools.values() for worker_id in pool.worker_ids]
        return frozenset((*standby, *(watched.leader.worker_id for watched in self._instances.values())))

    def _marks(self) -> frozenset[str]:
        standby = [mark for pool in self._pools.values() for mark in pool.marks]
        return frozenset((*standby, *(watched.leader.family.mark for watched in self._instances.values())))

    async def _sweep_again(self) -> None:
        await asyncio.sleep(_LATE_SWEEP_S)
        await self._end_orphans()
