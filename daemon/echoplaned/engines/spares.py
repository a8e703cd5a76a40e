"""Warm spares: workers that have paid for their imports before anybody asks for a model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from echoplaned.engines.launcher import LaunchOptions
from echoplaned.engines.processes import NoSuchProcessError
from echoplaned.engines.worker_process import NotWarmError, WorkerProcess

_RETRY_FIRST_S: Final = 2.0
_RETRY_MAX_S: Final = 60.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Spare:
    """A worker on its way to being warm, or warm."""

    worker: WorkerProcess
    warming: asyncio.Task[None]

    @property
    def is_warm(self) -> bool:
        return self.warming.done() and not self.warming.cancelled() and self.warming.exception() is None


class SparePool:
    """Keeps a number of warm spares and hands them out; makes one where it has none.

    Args:
        options: where and how workers are launched.
        size: spares to keep; 0 makes each load wait for a worker of its own.
        new_worker_id: draws an id for a worker.
    """

    def __init__(self, options: LaunchOptions, size: int, new_worker_id: Callable[[], str]) -> None:
        self._options = options
        self._size = size
        self._new_worker_id = new_worker_id
        self._spares: list[_Spare] = []
        self._leaving: list[_Spare] = []
        self._held = False
        self._closed = False
        self._failures = 0
        self._retry: asyncio.TimerHandle | None = None

    @property
    def worker_ids(self) -> frozenset[str]:
        """The workers that are spares now, or are being handed out."""
        return frozenset(spare.worker.worker_id for spare in (*self._spares, *self._leaving))

    @property
    def warm_count(self) -> int:
        """Spares that a load can take without waiting."""
        return sum(spare.is_warm for spare in self._spares)

    def hold(self, *, held: bool) -> None:
        """Stop making spares, while something is measured that they would disturb; or go on."""
        self._held = held
        if not held:
            self.refill()

    def adopt(self, worker: WorkerProcess) -> None:
        """Take a spare that an earlier daemon started."""
        self._add(worker)

    def refill(self, *, urgent: bool = False) -> None:
        """Start what is missing: at low priority, unless nobody is served yet whom it could disturb."""
        if self._closed or self._held or self._retry is not None:
            return
        while len(self._spares) < self._size:
            if not self._spawn(urgent=urgent):
                return

    async def take(self) -> WorkerProcess:
        """Return a warm worker that is nobody's spare any more: the warmest there is, else a new one.

        Raises:
            NotWarmError: it did not become warm.
        """
        self._spares.sort(key=lambda spare: not spare.is_warm)
        if not self._spares and not self._spawn(urgent=True):
            raise NotWarmError("no worker process could be started", final=False)
        spare = self._spares.pop(0)
        self._leaving.append(spare)
        if not spare.is_warm:
            spare.worker.process.raise_priority()
        try:
            await asyncio.shield(spare.warming)
        except (NotWarmError, asyncio.CancelledError):
            # Nobody's now: a worker that is half-way to somewhere is not worth more than its memory.
            spare.warming.cancel()
            spare.worker.process.kill_group()
            raise
        finally:
            self._leaving.remove(spare)
        return spare.worker

    async def shrink(self) -> int:
        """End the spares that are too many; return how many."""
        surplus = sorted(self._spares, key=lambda spare: not spare.is_warm)[self._size :]
        await self._end(surplus)
        return len(surplus)

    async def close(self) -> None:
        """End all spares."""
        self._closed = True
        if self._retry is not None:
            self._retry.cancel()
        await self._end(list(self._spares))

    def _spawn(self, *, urgent: bool) -> bool:
        """Start one; whether that worked."""
        try:
            worker = WorkerProcess.launch(self._new_worker_id(), self._options, urgent=urgent)
        except (OSError, NoSuchProcessError) as error:
            log.warning("spare.not_started", detail=str(error))
            self._retry_later()
            return False
        self._add(worker)
        return True

    def _add(self, worker: WorkerProcess) -> None:
        spare = _Spare(worker, asyncio.create_task(worker.wait_until_warm(), name=f"warm {worker.worker_id}"))
        self._spares.append(spare)
        spare.warming.add_done_callback(lambda _: self._warmed(spare))
        worker.process.on_exit(lambda _: self._drop(spare))

    def _warmed(self, spare: _Spare) -> None:
        if spare.warming.cancelled():
            return
        error = spare.warming.exception()
        if error is None:
            self._failures = 0
            return
        log.warning("spare.failed", worker=spare.worker.worker_id, detail=str(error))
        if spare in self._spares:
            self._spares.remove(spare)
            spare.worker.process.kill_group()
            self._retry_later()

    def _drop(self, spare: _Spare) -> None:
        """A spare's process has gone."""
        if spare in self._spares and spare.warming.done():
            self._spares.remove(spare)
            self._retry_later()

    def _retry_later(self) -> None:
        """Refill after a pause that doubles, so that a spare that always fails does not burn a core."""
        if self._retry is not None or self._closed:
            return
        pause_s = min(_RETRY_MAX_S, _RETRY_FIRST_S * 2.0**self._failures)
        self._failures += 1
        self._retry = asyncio.get_running_loop().call_later(pause_s, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        self.refill()

    async def _end(self, spares: list[_Spare]) -> None:
        for spare in spares:
            self._spares.remove(spare)
            spare.warming.cancel()
            spare.worker.process.kill_group()
        await asyncio.gather(*(spare.warming for spare in spares), return_exceptions=True)
        for spare in spares:
            await spare.worker.process.wait()
            await spare.worker.let_go()
