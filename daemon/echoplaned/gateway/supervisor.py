"""Keeps one Envoy running: adopts it, starts it again, replaces it without a gap.

Nothing here speaks of models: what Envoy serves comes over xDS from the same daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import structlog

from echoplaned.gateway.admin import LIVE, EnvoyAdmin
from echoplaned.gateway.binary import EnvoyMissingError, read_hot_restart_version
from echoplaned.gateway.envoy_process import EnvoyGoneError, EnvoyProcess
from echoplaned.gateway.launching import LaunchError, digest_of, last_words, launch_envoy, plan_record
from echoplaned.gateway.listening import is_answered
from echoplaned.gateway.logs import rotate_logs
from echoplaned.gateway.options import GatewayOptions, admin_socket
from echoplaned.gateway.records import EnvoyRecord, delete_ended, last_generation, read_live
from echoplaned.ports.gateway import GatewayState, GatewayStatus
from echoplaned.runtime.faults import contain

log = structlog.get_logger(__name__)

FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 30.0
STEADY_S: Final = 60.0
"""An Envoy that lived for so long is started again at once, and the pauses begin anew."""

_POLL_S: Final = 0.1
_LOGS_EVERY_S: Final = 10.0
_TAKE_OVER_S: Final = 120.0


class GatewaySupervisor:
    """Runs the gateway's Envoy beside the loop, and leaves it running at the end.

    ``run`` must run beside the loop; ``close`` leaves Envoy running.


    Args:
        options: how Envoy is run.
        monotonic: seconds that only go on.
    """

    def __init__(self, options: GatewayOptions, monotonic: Callable[[], float]) -> None:
        self._options = options
        self._monotonic = monotonic
        self._status = GatewayStatus(GatewayState.STARTING, options.listening)
        self._version = ""
        self._current: EnvoyProcess | None = None
        self._running: asyncio.Task[None] | None = None
        self._replacing = asyncio.Lock()
        self._draining: set[asyncio.Task[None]] = set()
        self._left: set[int] = set()
        self._logs_looked_s = monotonic()

    @property
    def status(self) -> GatewayStatus:
        """The gateway's state now."""
        return self._status

    async def run(self) -> None:
        """Keep Envoy running until cancelled."""
        pause_s = 0.0
        self._running = asyncio.current_task()
        while True:
            began_s = self._monotonic()
            # Whatever goes wrong here takes nothing with it but the gateway, and that is tried again.
            with contain(self._crash):
                try:
                    await self._live_once()
                except (LaunchError, EnvoyMissingError, EnvoyGoneError) as error:
                    self._fail(str(error))
            if self._monotonic() - began_s >= STEADY_S:
                pause_s = 0.0
            await asyncio.sleep(pause_s)
            pause_s = min(max(2 * pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)
            self._status = replace(self._status, restarts=self._status.restarts + 1)

    async def upgrade(self) -> None:
        """Replace Envoy by one of the settings as they are now.

        What is under way ends on the old one.


        Raises:
            LaunchError: the new one did not take over; the old one serves on.
        """
        async with self._replacing:
            old = self._current
            if old is None or not old.alive:
                return
            self._version = await asyncio.to_thread(read_hot_restart_version, self._options.binary)
            # A successor refuses to start while its predecessor has not come up itself.
            await self._until_live(old)
            record = await launch_envoy(self._options, plan_record(self._options, self._version, old.record))
            new = EnvoyProcess(record)
            try:
                await self._until_live(new)
            except LaunchError:
                new.kill()
                raise
            self._current = new
            self._status = replace(self._status, pid=record.pid)
            self._leave(old, told=record.epoch > 0)
            log.info("gateway.replaced", pid=record.pid, old_pid=old.record.pid, epoch=record.epoch)

    async def close(self) -> None:
        """Watch no more; Envoy serves on with what it has."""
        ending = [*self._draining, *([self._running] if self._running is not None else [])]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        if self._current is not None:
            self._current.detach()
        self._status = replace(self._status, state=GatewayState.STOPPED)

    async def _live_once(self) -> None:
        """Adopt or start one Envoy and return when the one that serves has ended.

        Raises:
            LaunchError: it could not be started.
            EnvoyMissingError: there is none.
            EnvoyGoneError: it ended at once.
        """
        self._version = await asyncio.to_thread(read_hot_restart_version, self._options.binary)
        process = await self._adopt()
        if process is None:
            delete_ended(self._options.state_dir)
            process = EnvoyProcess(await launch_envoy(self._options, plan_record(self._options, self._version, None)))
            log.info("gateway.started", pid=process.record.pid, address=self._options.listening)
        self._current = process
        self._status = replace(self._status, state=GatewayState.STARTING, pid=process.record.pid)
        await self._watch()

    async def _adopt(self) -> EnvoyProcess | None:
        """Return the Envoy that an earlier daemon left; those beside it drain."""
        live = [each for each in read_live(self._options.state_dir) if each.generation not in self._left]
        states = {each.generation: await self._admin(each).state() for each in live}
        found = [each for each in live if await self._may_serve(each, states[each.generation])]
        found.sort(
            key=lambda each: states[each.generation] != LIVE
        )  # stable: among the live ones the newest stays first
        adopted: EnvoyProcess | None = None
        for record in found:
            with contextlib.suppress(EnvoyGoneError):
                process = EnvoyProcess(record)
                if adopted is None:
                    adopted = process
                    log.info("gateway.adopted", pid=record.pid, generation=record.generation)
                else:
                    self._leave(process, told=record.base_id == adopted.record.base_id)
        for record in live:
            if record not in found:
                with contextlib.suppress(EnvoyGoneError):
                    self._leave(EnvoyProcess(record), told=True)
        return adopted

    async def _may_serve(self, record: EnvoyRecord, state: str) -> bool:
        """Whether an Envoy takes callers, or will.

        One that was replaced ends its streams and takes none any more, though its successor may have died before it.
        """
        if record.generation == last_generation(self._options.state_dir):
            return True
        return state == LIVE and await is_answered(record.listening)

    async def _watch(self) -> None:
        """Return once the Envoy that serves has ended.

        Another one may have taken its place meanwhile.
        """
        while (process := self._current) is not None:
            if self._status.state is GatewayState.STARTING:
                await self._look(process)
            await self._look_after_logs(process)
            if await process.wait(_POLL_S if self._status.state is GatewayState.STARTING else 1.0):
                async with self._replacing:
                    if self._current is process:
                        break
        self._fail(f"its process ended; {last_words(self._options) or 'it said nothing'}")

    async def _look(self, process: EnvoyProcess) -> None:
        """See whether it serves by now, and whether it is what the settings ask for."""
        if await self._admin(process.record).state() != LIVE or not await is_answered(self._options.listening):
            return
        self._status = replace(self._status, state=GatewayState.SERVING)
        log.info("gateway.serving", pid=process.record.pid, address=self._options.listening)
        if process.record.digest != digest_of(self._options, self._version):
            try:
                await self.upgrade()
            except (LaunchError, EnvoyGoneError) as error:
                log.warning("gateway.not_replaced", problem=str(error))
                self._status = replace(self._status, last_failure=str(error))

    async def _look_after_logs(self, process: EnvoyProcess) -> None:
        now_s = self._monotonic()
        if now_s - self._logs_looked_s >= _LOGS_EVERY_S:
            self._logs_looked_s = now_s
            try:
                full = await asyncio.to_thread(rotate_logs, self._options.state_dir, self._options.max_log_bytes)
            except OSError as error:  # a disk that is read-only, say: Envoy serves on
                log.warning("gateway.logs_not_put_aside", problem=str(error))
                return
            if full:
                await self._admin(process.record).reopen_logs()

    async def _until_live(self, process: EnvoyProcess) -> None:
        """Wait until it is live.

        Raises:
            LaunchError: it ended, or was not within the time.
        """
        deadline_s = self._monotonic() + _TAKE_OVER_S
        while await self._admin(process.record).state() != LIVE:
            if await process.wait(_POLL_S) or self._monotonic() > deadline_s:
                raise LaunchError(f"Envoy did not come up: {last_words(self._options) or 'it said nothing'}")

    def _leave(self, old: EnvoyProcess, *, told: bool) -> None:
        """Let an old Envoy end what is under way.

        One whose successor shares its memory was told to by that one.
        """
        self._left.add(old.record.generation)
        task = asyncio.create_task(self._drain(old, told=told), name="gateway-drain")
        self._draining.add(task)
        task.add_done_callback(self._draining.discard)

    async def _drain(self, old: EnvoyProcess, *, told: bool) -> None:
        try:
            if not told:
                await self._admin(old.record).drain()
            if not await old.wait(self._options.drain_s + 10):
                old.terminate()
                await old.wait()
            delete_ended(self._options.state_dir)
        finally:
            old.detach()

    def _admin(self, record: EnvoyRecord) -> EnvoyAdmin:
        return EnvoyAdmin(admin_socket(self._options.state_dir, record.generation))

    def _crash(self, error: BaseException) -> None:
        log.error("gateway.failed", exc_info=error)
        self._fail(f"{type(error).__name__}: {error}")

    def _fail(self, reason: str) -> None:
        log.error("gateway.ended", reason=reason, pid=self._status.pid)
        self._status = replace(self._status, state=GatewayState.WAITING, pid=0, last_failure=reason)
