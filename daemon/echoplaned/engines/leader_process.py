"""One leader's process as the daemon holds it.

From its launch, or its adoption, to the end of the last process of its engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Final

import structlog

from echoplaned.core.endpoints import Endpoint, EndpointProtocol, tcp_endpoint
from echoplaned.engine_kinds import DEFAULT_KIND, EngineKind
from echoplaned.engines.inventory import FoundLeader
from echoplaned.engines.launcher import LaunchOptions, last_log_lines, launch, standby_mark
from echoplaned.engines.leader_client import LeaderClient
from echoplaned.engines.processes import ExitInfo, WatchedProcess
from echoplaned.worker_contract.family import Family, end_family
from echoplaned.worker_contract.record import (
    WorkerPhase,
    WorkerRecord,
    delete_record,
    read_record,
    read_start_ticks,
    records_dir,
)

_RECORD_POLL_S: Final = 0.05
_REPORT_INTERVAL_S: Final = 1.0
_END_TIMEOUT_S: Final = 10.0
_LOOK_AGAIN_S: Final = 1.0

log = structlog.get_logger(__name__)


class NotReadyError(Exception):
    """A leader did not come to standby.

    ``final``: another one would fail the same way (its libraries are missing, say).
    """

    def __init__(self, detail: str, *, final: bool) -> None:
        super().__init__(detail)
        self.final = final


class LeaderProcess:
    """A live leader with its engine's processes.

    Args:
        state_dir: where it keeps its record and its log.
        worker_id: its id.
        process: its process.
        kind: the kind of engine that it leads.
        mark: what its engine's processes carry in their environment; empty: nothing (contract 1).
    """

    def __init__(
        self,
        state_dir: Path,
        worker_id: str,
        process: WatchedProcess,
        kind: EngineKind = DEFAULT_KIND,
        mark: str = "",
    ) -> None:
        self._state_dir = state_dir
        self.worker_id = worker_id
        self.kind = kind
        self.process = process
        self.family = Family(process.pid, read_start_ticks(process.pid) or 0, mark)
        self.endpoints: tuple[Endpoint, ...] = ()
        self.control_key = ""
        self._client: LeaderClient | None = None
        self._gone: asyncio.Future[ExitInfo] = asyncio.get_running_loop().create_future()
        self._cleanup: asyncio.Task[None] | None = None
        process.on_exit(self._exited)

    @classmethod
    def launch(cls, worker_id: str, options: LaunchOptions, *, urgent: bool, mark: str = "") -> LeaderProcess:
        """Start a leader; ``mark``: of its instance; empty: it stands by.

        Raises:
            OSError: it could not be started.
            NoSuchProcessError: it ended at once.
        """
        mark = mark or standby_mark(worker_id, options.state_dir)
        pid = launch(worker_id, options, urgent=urgent, mark=mark)
        return cls(options.state_dir, worker_id, WatchedProcess(pid, spares_group=True), options.kind, mark)

    @classmethod
    def adopt(cls, state_dir: Path, found: FoundLeader) -> LeaderProcess:
        """Take a leader that an earlier daemon started.

        Raises:
            NoSuchProcessError: it has gone meanwhile.
        """
        process = WatchedProcess(found.pid, found.family.start_ticks, spares_group=True)
        leader = cls(state_dir, found.worker_id, process, found.kind, found.family.mark)
        if found.record is not None and found.record.address:
            leader._listens_at(found.record)
        return leader

    @property
    def client(self) -> LeaderClient:
        """Its control client; known once it listens.

        Raises:
            NotReadyError: it does not listen yet.
        """
        if self._client is None:
            raise NotReadyError(f"leader {self.worker_id} does not listen yet", final=False)
        return self._client

    @property
    def listens(self) -> bool:
        """Whether its address is known."""
        return self._client is not None

    @property
    def is_gone(self) -> bool:
        """Whether no process of its engine is left."""
        return self._gone.done()

    def on_gone(self, listener: Callable[[ExitInfo], None]) -> None:
        """Call the listener once when no process of its engine is left."""
        self._gone.add_done_callback(lambda done: None if done.cancelled() else listener(done.result()))

    async def wait_until_gone(self) -> ExitInfo:
        """Return when no process of its engine is left."""
        return await asyncio.shield(self._gone)

    async def ends_within(self, timeout_s: float) -> bool:
        """Wait until no process of its engine is left; return whether that came in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self.wait_until_gone()
        except TimeoutError:
            return False
        return True

    def kill(self) -> None:
        """End the leader's process now.

        Its engine ends when it has gone, in the order that leaves no shared memory behind.
        """
        self.process.kill()

    async def wait_for_standby(self) -> None:
        """Return when the leader can take an order.

        Raises:
            NotReadyError: it failed, ended, or took too long.
        """
        limit_s = self.kind.limits.standby_s
        try:
            async with asyncio.timeout(limit_s):
                await self._wait_for_address()
                await self._wait_for_phase()
        except TimeoutError:
            raise NotReadyError(f"leader {self.worker_id} took no order within {limit_s:g} s", final=False) from None

    def reread_endpoints(self) -> None:
        """Look at the record again: an engine may listen elsewhere once it has loaded."""
        record = self._own_record()
        if record is not None and record.endpoints:
            self.endpoints = record.endpoints

    def log_tail(self, lines: int = 5) -> str:
        """Return the last lines of its output."""
        return last_log_lines(self._state_dir, self.worker_id, lines)

    def describe_end(self, info: ExitInfo) -> str:
        """Say how it ended, with its last line."""
        last = self.log_tail(1)
        return f"{info}; its last line: {last}" if last else str(info)

    async def detach(self) -> None:
        """Stop watching and close the channel; the process goes on."""
        self.process.detach()
        if self._cleanup is not None:
            self._cleanup.cancel()
        self._gone.cancel()
        if self._client is not None:
            await self._client.close()

    def _listens_at(self, record: WorkerRecord) -> None:
        self._client = LeaderClient(record.address, record.control_key)
        self.control_key = record.control_key
        self.endpoints = record.endpoints or (tcp_endpoint(EndpointProtocol.OIP_GRPC, record.address),)

    def _own_record(self) -> WorkerRecord | None:
        record = read_record(records_dir(self._state_dir) / f"{self.worker_id}.json")
        # An old record under this id names another process.
        return record if record is not None and record.pid == self.process.pid else None

    async def _wait_for_address(self) -> None:
        while self._client is None:
            if not self.process.alive:
                raise NotReadyError(self.describe_end(await self.process.wait()), final=False)
            record = self._own_record()
            if record is not None and record.address:
                self._listens_at(record)
                return
            await asyncio.sleep(_RECORD_POLL_S)

    async def _wait_for_phase(self) -> None:
        while True:
            async with aclosing(self.client.reports(_REPORT_INTERVAL_S)) as reports:
                async for report in reports:
                    if report.phase is WorkerPhase.FAILED:
                        raise NotReadyError(report.failure or "the leader failed", final=True)
                    if report.phase is not WorkerPhase.WARMING:
                        return
            if not self.process.alive:
                raise NotReadyError(self.describe_end(await self.process.wait()), final=False)
            await asyncio.sleep(_RECORD_POLL_S)

    def _exited(self, info: ExitInfo) -> None:
        self._cleanup = asyncio.get_running_loop().create_task(
            self._clean_up_after_exit(info), name=f"clean-up-{self.worker_id}"
        )

    async def _clean_up_after_exit(self, info: ExitInfo) -> None:
        """End what the leader left behind, then remove its record.

        Only then its memory is free.
        """
        while not await self._is_family_ended():
            log.warning("engine.outlived_leader", worker=self.worker_id, leader=self.family.leader_pid)
        forget_record(self._state_dir, self.worker_id)
        if not self._gone.done():
            self._gone.set_result(info)

    async def _is_family_ended(self) -> bool:
        """End what there still is of the engine, and return whether all of it has ended.

        Where processes cannot be looked at (no descriptor is free, say), that is not known.
        """
        try:
            return await asyncio.to_thread(end_family, self.family, _END_TIMEOUT_S)
        except OSError as error:
            log.warning("engine.not_looked_at", worker=self.worker_id, detail=str(error))
            await asyncio.sleep(_LOOK_AGAIN_S)
            return False


def forget_record(state_dir: Path, worker_id: str) -> None:
    """Remove the record of a leader that has gone; one on a read-only disk stays.

    It says nothing wrong there: its process has gone.
    """
    try:
        delete_record(state_dir, worker_id)
    except OSError as error:
        log.warning("record.not_deleted", worker=worker_id, detail=str(error))
