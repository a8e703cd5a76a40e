"""One worker process as the daemon holds it: from its launch, or its adoption, to its end."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Final

from echoplaned.engines.inventory import FoundWorker
from echoplaned.engines.launcher import LaunchOptions, last_log_lines, launch
from echoplaned.engines.processes import ExitInfo, WatchedProcess
from echoplaned.engines.record import WorkerPhase, forget_record, read_record, records_dir
from echoplaned.engines.worker_client import WorkerClient

_RECORD_POLL_S: Final = 0.05
_WARM_TIMEOUT_S: Final = 600.0
_REPORT_INTERVAL_S: Final = 1.0


class NotWarmError(Exception):
    """A worker did not become a warm spare. ``final``: another one would fail the same way (its libraries are missing, say)."""

    def __init__(self, detail: str, *, final: bool) -> None:
        super().__init__(detail)
        self.final = final


class WorkerProcess:
    """A live worker.

    Args:
        state_dir: where it keeps its record and its log.
        worker_id: its id.
        process: its process.
    """

    def __init__(self, state_dir: Path, worker_id: str, process: WatchedProcess) -> None:
        self._state_dir = state_dir
        self.worker_id = worker_id
        self.process = process
        self._client: WorkerClient | None = None
        process.on_exit(self._forget_record)

    @classmethod
    def launch(cls, worker_id: str, options: LaunchOptions, *, urgent: bool) -> WorkerProcess:
        """Start a worker.

        Raises:
            OSError: it could not be started.
            NoSuchProcessError: it ended at once.
        """
        pid = launch(worker_id, options, urgent=urgent)
        return cls(options.state_dir, worker_id, WatchedProcess(pid))

    @classmethod
    def adopt(cls, state_dir: Path, found: FoundWorker) -> WorkerProcess:
        """Take a worker that an earlier daemon started.

        Raises:
            NoSuchProcessError: it has gone meanwhile.
        """
        worker = cls(state_dir, found.worker_id, WatchedProcess(found.pid, found.start_ticks))
        if found.record is not None and found.record.address:
            worker._client = WorkerClient(found.record.address)
        return worker

    @property
    def client(self) -> WorkerClient:
        """Its control client; known once it listens.

        Raises:
            NotWarmError: it does not listen yet.
        """
        if self._client is None:
            raise NotWarmError(f"worker {self.worker_id} does not listen yet", final=False)
        return self._client

    @property
    def listens(self) -> bool:
        """Whether its address is known."""
        return self._client is not None

    async def wait_until_warm(self) -> None:
        """Return when the worker is a warm spare.

        Raises:
            NotWarmError: it failed, ended, or took too long.
        """
        try:
            async with asyncio.timeout(_WARM_TIMEOUT_S):
                await self._wait_for_address()
                await self._wait_for_spare()
        except TimeoutError:
            raise NotWarmError(
                f"worker {self.worker_id} was not warm after {_WARM_TIMEOUT_S:.0f} s", final=False
            ) from None

    def log_tail(self, lines: int = 5) -> str:
        """Return the last lines of its output."""
        return last_log_lines(self._state_dir, self.worker_id, lines)

    def describe_end(self, info: ExitInfo) -> str:
        """Say how it ended, with its last line."""
        last = self.log_tail(1)
        return f"{info}; its last line: {last}" if last else str(info)

    async def let_go(self) -> None:
        """Stop watching and close the channel; the process goes on."""
        self.process.forget()
        if self._client is not None:
            await self._client.close()

    async def _wait_for_address(self) -> None:
        path = records_dir(self._state_dir) / f"{self.worker_id}.json"
        while self._client is None:
            if not self.process.alive:
                raise NotWarmError(self.describe_end(await self.process.wait()), final=False)
            record = read_record(path)
            # An old record under this id names another process.
            if record is not None and record.pid == self.process.pid and record.address:
                self._client = WorkerClient(record.address)
                return
            await asyncio.sleep(_RECORD_POLL_S)

    async def _wait_for_spare(self) -> None:
        while True:
            async with aclosing(self.client.reports(_REPORT_INTERVAL_S)) as reports:
                async for report in reports:
                    if report.phase is WorkerPhase.FAILED:
                        raise NotWarmError(report.failure or "the worker failed", final=True)
                    if report.phase is not WorkerPhase.WARMING:
                        return
            if not self.process.alive:
                raise NotWarmError(self.describe_end(await self.process.wait()), final=False)
            await asyncio.sleep(_RECORD_POLL_S)

    def _forget_record(self, _: ExitInfo) -> None:
        forget_record(self._state_dir, self.worker_id)
