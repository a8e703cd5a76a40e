"""Processes of engines of any kind, led by the worker contract.

They are started from standby or anew, probed, drained, stopped and adopted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import grpc
import structlog

from echoplaned.core.effects import DrainEngine, ProbeEngine, StartEngine, StopEngine
from echoplaned.core.engine_events import (
    EngineDrained,
    EngineGaveUp,
    EngineLost,
    EngineReady,
    EngineStopped,
    MemoryMeasured,
    ProbesFailed,
    ProbesPassed,
)
from echoplaned.core.events import FoundEngine
from echoplaned.core.failure import FailureDetail, Reason
from echoplaned.core.fault import EffectKey
from echoplaned.core.ids import InstanceKey
from echoplaned.engine_kinds import KINDS, EngineKind, describe_absence, find_kind
from echoplaned.engines.device_turns import DeviceTurns
from echoplaned.engines.instance import NoReportError, StuckLimits, WatchedInstance
from echoplaned.engines.jobs import LOADING, Jobs
from echoplaned.engines.launcher import LaunchOptions
from echoplaned.engines.leader_client import FINAL_REASONS, LeaderRefusedError
from echoplaned.engines.leader_process import NotReadyError
from echoplaned.engines.leaders import Clocks, EngineSinks, Key, LeaderHome, Leaders
from echoplaned.engines.probing import ProbeFailedError, probe_all
from echoplaned.engines.quiet import SETTLE_S, wait_for_calls, wait_until_quiet
from echoplaned.engines.standby import StandbyPool
from echoplaned.ports.probing import LastProbe

_STOP_GRACE_S: Final = 2.0
_STOP_TIMEOUT_S: Final = 5.0
_DEATH_TIMEOUT_S: Final = 10.0
_REFILL_AFTER_S: Final = 1.0
"""Pause after a start or its probes before leaders are started for standby: between the two the core has its turn."""
_BROKEN_OFF_S: Final = 2.0

# A load that ended with one of these would end the same way again.
_FINAL_CODES: Final = frozenset({grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INVALID_ARGUMENT})

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class EngineProcessOptions:
    """Settings of the engines on this machine.

    Attributes:
        state_dir: the daemon's state directory.
        kinds: kinds of engines that are known.
        standby_count: leaders kept on standby, of each kind that has standby; 0: none.
        bytecode_cache: directory for bytecode of leaders that may not keep it beside the sources; None: it is not kept.
        stuck: limits beyond which a live leader counts as stuck.
    """

    state_dir: Path
    kinds: tuple[EngineKind, ...] = field(default=KINDS)
    standby_count: int = 1
    bytecode_cache: Path | None = None
    stuck: StuckLimits = field(default_factory=StuckLimits)

    def launch(self, kind: EngineKind) -> LaunchOptions:
        """Return how leaders of a kind are started."""
        return LaunchOptions(self.state_dir.resolve(), bytecode_cache=self.bytecode_cache, kind=kind)


class EngineProcesses:
    """Implements the ``Engines`` port for the engines of this machine.

    Everything happens on the event loop.

    Args:
        options: settings.
        sinks: where the news goes.
        clocks: the time.
        new_worker_id: draws an id for a leader: lower-case letters, digits and dashes.
    """

    def __init__(
        self, options: EngineProcessOptions, sinks: EngineSinks, clocks: Clocks, new_worker_id: Callable[[], str]
    ) -> None:
        self._kinds = options.kinds
        self._emit = sinks.emit
        self._now_s = clocks.wall
        self._pools = {
            kind: StandbyPool(options.launch(kind), options.standby_count, new_worker_id) for kind in options.kinds
        }
        self._leaders = Leaders(LeaderHome(options.state_dir.resolve(), options.stuck), self._pools, sinks, clocks)
        self._jobs = Jobs(sinks.failed, self._job_ended)
        self._turns = DeviceTurns()
        self._closing = False

    # --- the adapter's own life ---

    def open(self) -> None:
        """Begin to keep leaders on standby and to look for stuck ones.

        To be called after ``adopt`` and ``sweep``.
        """
        for pool in self._pools.values():
            pool.refill(urgent=self._leaders.is_idle)
        self._leaders.open()

    def hold_refill(self, *, held: bool) -> None:
        """Start no leader for standby while a rollout is being judged, or go on.

        So they do not disturb what is measured.
        """
        for pool in self._pools.values():
            pool.hold(held=held)

    @property
    def standby_count(self) -> int:
        """Leaders that a load can take without waiting."""
        return sum(pool.ready_count for pool in self._pools.values())

    @property
    def alarms(self) -> tuple[str, ...]:
        """What somebody should look at, one sentence each."""
        return self._leaders.alarms

    async def close(self) -> None:
        """Stop watching all engines and end the leaders on standby.

        Serving engines go on for the next daemon to adopt.
        """
        self._closing = True
        await self._jobs.close()
        for pool in self._pools.values():
            await pool.close()
        await self._leaders.close()

    # --- the port ---

    def start(self, effect: StartEngine) -> None:
        """Give a leader to the instance.

        One that leads this generation already is taken again.
        """
        self._jobs.run(effect.key, lambda: self._start(effect))

    def probe(self, effect: ProbeEngine) -> None:
        """Send the golden prompts; then report the memory."""
        self._jobs.run(effect.key, lambda: self._probe(effect))

    def drain(self, effect: DrainEngine) -> None:
        """Wait until the instance is quiet, or for the deadline."""
        self._jobs.run(effect.key, lambda: self._drain(effect))

    def undrain(self, instance: InstanceKey, generation: int) -> None:
        """Give a drain up without an answer."""
        self._jobs.cancel(_effect_key("drain", (instance, generation)))
        watched = self._leaders.get((instance, generation))
        if watched is not None:
            self._leaders.spawn(watched.leader.client.mark_draining(generation, draining=False))

    def stop(self, effect: StopEngine) -> None:
        """End every process of the engine: politely, then not."""
        self._jobs.run(effect.key, lambda: self._stop((effect.instance, effect.generation)))

    async def adopt(self) -> tuple[FoundEngine, ...]:
        """Find the leaders that outlived the last daemon and watch them.

        Those that still load are among them.
        """
        return await self._leaders.adopt()

    async def sweep(self, owned: frozenset[Key]) -> int:
        """Kill every engine that is neither owned nor needed on standby.

        Returns how many of this state directory were killed.
        """
        return await self._leaders.sweep(owned)

    def pid_of(self, leader_id: str) -> int:
        """Return the process id of the leader with this id; 0: there is none.

        It leads an instance's engine.
        """
        return self._leaders.pid_of(leader_id)

    def leader_pids(self) -> frozenset[int]:
        """Return the ids of the processes that lead instances' engines.

        May be called from any thread.
        """
        return self._leaders.pids

    def control_key_at(self, address: str) -> str:
        """Return the control key of the leader at an address, ``HOST:PORT``.

        Its instance answers there. Empty: it has none, or there is no such leader.
        """
        return self._leaders.control_key_at(address)

    def last_probe(self, instance: InstanceKey, generation: int) -> LastProbe | None:
        """Return the last probe of an engine that serves.

        None: there was none since its start, or it has gone.
        """
        watched = self._leaders.get((instance, generation))
        return None if watched is None else watched.last_probe

    # --- start ---

    async def _start(self, effect: StartEngine) -> None:
        key = (effect.instance, effect.generation)
        kind = find_kind(effect.spec.shape.engine, self._kinds)
        if kind is None or not kind.is_configured or kind.name != (effect.spec.shape.engine or kind.name):
            self._give_up(key, describe_absence(effect.spec.shape.engine, self._kinds))
            return
        devices = effect.placement.device_ids
        if len(devices) > 1 and not kind.is_split:
            self._give_up(key, f"the engine {kind.name} runs on one device, not on {', '.join(devices)}")
            return
        async with self._turns.start(kind, devices, is_running=self._leaders.get(key) is not None):
            await self._spawn_and_load(effect, kind)

    async def _spawn_and_load(self, effect: StartEngine, kind: EngineKind) -> None:
        key = (effect.instance, effect.generation)
        watched = self._leaders.get(key)
        try:
            if watched is None:
                watched = await self._leaders.assign(key, kind)
            build = await _load(watched, effect)
        except NotReadyError as error:
            if error.final:
                self._give_up(key, f"the engine cannot start: {error}")
            else:
                self._lost(key, f"no leader could take the order: {error}")
        except LeaderRefusedError as error:
            if watched is not None:
                self._load_failed(watched, error)
        else:
            leader = watched.leader
            leader.reread_endpoints()
            self._emit(EngineReady(self._now_s(), *key, leader.endpoints, leader.worker_id, build))

    def _load_failed(self, watched: WatchedInstance, error: LeaderRefusedError) -> None:
        if error.reason in FINAL_REASONS:
            self._emit(EngineGaveUp(self._now_s(), *watched.key, FailureDetail(error.reason, str(error))))
        elif error.code in _FINAL_CODES:
            tail = watched.leader.log_tail()
            self._give_up(watched.key, f"the engine cannot load the version: {error}\nits last lines:\n{tail}")
        elif error.code is grpc.StatusCode.DEADLINE_EXCEEDED:
            limit_s = watched.leader.kind.limits.start_s
            self._leaders.stuck(watched, f"its start did not end within {limit_s:g} s")
        else:
            # Worth another process. This one is of no use any more, and the core waits for its end.
            log.warning("load.failed", instance=str(watched.key[0]), code=error.code.name, detail=str(error))
            watched.leader.kill()

    # --- probe ---

    async def _probe(self, effect: ProbeEngine) -> None:
        key = (effect.instance, effect.generation)
        watched = self._leaders.get(key)
        if watched is None:
            self._lost(key, "it has no process")
            return
        limit_s = watched.leader.kind.limits.probe_s
        watched.is_accepted = False
        try:
            async with asyncio.timeout(limit_s):
                line = watched.leader.client.line
                count = await probe_all(line, effect.instance.version, effect.facts, watched.probe_sent)
        except TimeoutError:
            self._leaders.stuck(watched, f"its probes did not end within {limit_s:g} s")
            return
        except ProbeFailedError as error:
            # A process that is dying breaks its calls off first; then it is lost, which is no verdict on the version.
            if not (error.unavailable and await watched.leader.ends_within(_BROKEN_OFF_S)):
                self._emit(ProbesFailed(self._now_s(), *key, str(error)))
            return
        watched.is_accepted = True
        self._emit(ProbesPassed(self._now_s(), *key, f"{count}/{count}"))
        try:
            report = await watched.next_report()
        except NoReportError:
            return  # that it is lost is told once all its processes have gone
        watched.measured_bytes = report.memory.model_bytes
        watched.reported_tokens = report.usage.sequences * report.usage.tokens if report.usage else 0
        self._emit(MemoryMeasured(self._now_s(), *key, watched.measured_bytes, report.usage, report.figures))

    # --- drain and stop ---

    async def _drain(self, effect: DrainEngine) -> None:
        key = (effect.instance, effect.generation)
        watched = self._leaders.get(key)
        if watched is None:
            self._lost(key, "it has no process")
            return
        if not effect.calls_only:
            await watched.leader.client.mark_draining(effect.generation, draining=True)
        cut = 0
        try:
            async with asyncio.timeout(max(0.0, effect.deadline_s - self._now_s())):
                await asyncio.sleep(SETTLE_S)
                await (wait_for_calls(watched) if effect.calls_only else wait_until_quiet(watched))
        except NoReportError:
            return  # its end says more, and is told once all its processes have gone
        except TimeoutError:
            cut = watched.last_report.counters.in_flight if watched.last_report else 0
        self._emit(EngineDrained(self._now_s(), *key, cut))

    async def _stop(self, key: Key) -> None:
        # After this a start has made an instance of its leader, or has ended it.
        await self._jobs.cancel_all(tuple(_effect_key(kind, key) for kind in ("start", "probe", "drain")))
        watched = self._leaders.get(key)
        if watched is None:
            self._emit(EngineStopped(self._now_s(), *key))
            return
        watched.stopping = True
        if not await self._ends_politely(watched):
            watched.leader.kill()
            if not await watched.leader.ends_within(_DEATH_TIMEOUT_S):
                pid = watched.leader.process.pid
                self._give_up(key, f"the engine of process {pid} does not die; its memory stays reserved until it does")

    async def _ends_politely(self, watched: WatchedInstance) -> bool:
        """Ask a leader to end and say whether it did within a few seconds.

        A stuck one, or one that still starts, is not asked.
        """
        if watched.stuck or not watched.is_serving:
            return False
        if not await watched.leader.client.shut_down(_STOP_GRACE_S):
            watched.leader.process.terminate()
        return await watched.leader.ends_within(_STOP_TIMEOUT_S)

    # --- small parts ---

    def _job_ended(self, kind: str) -> None:
        if kind in LOADING:
            asyncio.get_running_loop().call_later(_REFILL_AFTER_S, self._refill)

    def _refill(self) -> None:
        """Start leaders for standby, unless somebody waits for a load.

        A load must not share its core with their warming.
        """
        if not self._jobs.is_loading:
            for pool in self._pools.values():
                pool.refill()

    def _lost(self, key: Key, detail: str) -> None:
        self._emit(EngineLost(self._now_s(), *key, detail))

    def _give_up(self, key: Key, message: str) -> None:
        self._emit(EngineGaveUp(self._now_s(), *key, FailureDetail(Reason.ENGINE_START_FAILED, message)))


async def _load(watched: WatchedInstance, effect: StartEngine) -> str:
    """Have the version loaded, and return the build that it keeps.

    Judged by the limits of its kind until it has been.

    Raises:
        NotReadyError: the leader does not listen.
        LeaderRefusedError: it was not loaded.
    """
    watched.start_began()
    try:
        return await watched.leader.client.load(effect, watched.leader.kind.limits.start_s)
    finally:
        watched.start_ended()


def _effect_key(kind: str, key: Key) -> EffectKey:
    """Return the key of an instance's effect, as the effect itself gives it."""
    return (kind, str(key[0]), key[1])
