"""Leaders on standby, ready before anybody asks for a model.

They have paid for their imports by then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from echoplaned.engines.launcher import LaunchOptions
from echoplaned.engines.leader_process import LeaderProcess, NotReadyError
from echoplaned.engines.processes import NoSuchProcessError

_RETRY_FIRST_S: Final = 2.0
_RETRY_MAX_S: Final = 60.0
_END_TIMEOUT_S: Final = 10.0
_RAISE_EVERY_S: Final = 0.25

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Standby:
    """A leader on its way to standby, or there.

    ``is_urgent``: somebody waits for it, so that it keeps its priority.
    """

    leader: LeaderProcess
    readying: asyncio.Task[None]
    is_urgent: bool = False

    @property
    def is_ready(self) -> bool:
        return self.readying.done() and not self.readying.cancelled() and self.readying.exception() is None


class StandbyPool:
    """Keeps a number of leaders of one kind on standby and hands them out.

    Starts one where it has none.

    Args:
        options: where and how leaders are started.
        size: leaders to keep; 0 makes each load wait for a leader of its own.
        new_worker_id: draws an id for a leader.
    """

    def __init__(self, options: LaunchOptions, size: int, new_worker_id: Callable[[], str]) -> None:
        self._options = options
        self._size = size if options.kind.has_standby and options.kind.is_configured else 0
        self._new_worker_id = new_worker_id
        self._waiting: list[_Standby] = []
        self._leaving: list[_Standby] = []
        self._held = False
        self._closed = False
        self._failures = 0
        self._retry: asyncio.TimerHandle | None = None

    @property
    def worker_ids(self) -> frozenset[str]:
        """The leaders that are on standby now, or are being handed out."""
        return frozenset(one.leader.worker_id for one in (*self._waiting, *self._leaving))

    @property
    def marks(self) -> frozenset[str]:
        """What these leaders carry in their environment."""
        return frozenset(one.leader.family.mark for one in (*self._waiting, *self._leaving))

    @property
    def ready_count(self) -> int:
        """Leaders that a load can take without waiting."""
        return sum(one.is_ready for one in self._waiting)

    def hold(self, *, held: bool) -> None:
        """Start none, while something is measured that they would disturb; or go on."""
        self._held = held
        if not held:
            self.refill()

    def adopt(self, leader: LeaderProcess) -> None:
        """Take a leader that an earlier daemon started."""
        self._add(leader)

    def refill(self, *, urgent: bool = False) -> None:
        """Start the leaders that are missing.

        At low priority, unless nobody is served yet whom they could disturb.
        """
        if self._closed or self._held or self._retry is not None:
            return
        while len(self._waiting) < self._size:
            if not self._spawn(urgent=urgent):
                return

    async def take(self, mark: str) -> LeaderProcess:
        """Return a leader that can take an order and belongs to nobody any more.

        One on standby, else a new one.

        ``mark``: of the instance that it is for; a new leader carries it, one on standby has a mark of its own.

        Raises:
            NotReadyError: it did not come to standby.
        """
        self._waiting.sort(key=lambda one: not one.is_ready)
        if not self._waiting and not self._spawn(urgent=True, mark=mark):
            raise NotReadyError("no process could be started", final=False)
        born = [self._leave(self._waiting[0])]
        taken: _Standby | None = None
        try:
            taken = await self._first_ready(born, mark)
        finally:
            await self._give_up([one for one in born if one is not taken], overtaken=taken is not None)
            self._leaving = [one for one in self._leaving if one not in born]
        # Threads that its warm-up started have its low priority, and go on to serve.
        taken.leader.process.raise_priority()
        return taken.leader

    def _leave(self, one: _Standby) -> _Standby:
        """Take one out of the pool; it is being handed out."""
        self._waiting.remove(one)
        self._leaving.append(one)
        return one

    async def _first_ready(self, born: list[_Standby], mark: str) -> _Standby:
        """Return the first of some leaders that comes to standby.

        One whose priority we may not raise gets an urgent one beside it.

        A leader that was started for standby lowers its own priority, at any time until it is ready, so it is raised again and again.
        ``born``: who is waited for; the urgent one is added.

        Raises:
            NotReadyError: none of them did.
        """
        tried = False
        while True:
            ready = next((one for one in born if one.is_ready), None)
            if ready is not None:
                return ready
            going = [one for one in born if not one.readying.done()]
            if not going:
                # The first one's reason: an urgent one beside it would not have been started otherwise.
                born[0].readying.result()
            hurries = [one.leader.process.raise_priority() for one in going]
            if not tried and not all(hurries):
                tried = True
                if self._spawn(urgent=True, mark=mark):
                    log.info("standby.started_urgently", worker=born[0].leader.worker_id)
                    born.append(self._leave(self._waiting[-1]))
                    going.append(born[-1])
            await asyncio.wait(
                [one.readying for one in going], timeout=_RAISE_EVERY_S, return_when=asyncio.FIRST_COMPLETED
            )

    async def _give_up(self, born: list[_Standby], *, overtaken: bool) -> None:
        """Let go of leaders that nobody waits for any more.

        One of the pool that an urgent one overtook goes on towards standby.

        Any other one is nobody's, and ends: a leader that is half-way to somewhere is not worth more than its memory.
        """
        for one in born:
            if overtaken and not one.readying.done() and not one.is_urgent and len(self._waiting) < self._size:
                self._waiting.append(one)
                continue
            one.readying.cancel()
            one.leader.kill()
            await self._wait_for_end(one.leader)

    async def shrink(self) -> int:
        """End the leaders that are too many; return how many."""
        surplus = sorted(self._waiting, key=lambda one: not one.is_ready)[self._size :]
        await self._end(surplus)
        return len(surplus)

    async def close(self) -> None:
        """End all leaders on standby."""
        self._closed = True
        if self._retry is not None:
            self._retry.cancel()
        await self._end(list(self._waiting))

    def _spawn(self, *, urgent: bool, mark: str = "") -> bool:
        """Start one; whether that worked."""
        try:
            leader = LeaderProcess.launch(self._new_worker_id(), self._options, urgent=urgent, mark=mark)
        except (OSError, NoSuchProcessError) as error:
            log.warning("standby.not_started", kind=self._options.kind.name, detail=str(error))
            self._retry_later()
            return False
        self._add(leader, urgent=urgent)
        return True

    def _add(self, leader: LeaderProcess, *, urgent: bool = False) -> None:
        readying = asyncio.create_task(leader.wait_for_standby(), name=f"ready {leader.worker_id}")
        one = _Standby(leader, readying, urgent)
        self._waiting.append(one)
        one.readying.add_done_callback(lambda _: self._readied(one))
        leader.process.on_exit(lambda _: self._drop(one))

    def _readied(self, one: _Standby) -> None:
        if one.readying.cancelled():
            return
        error = one.readying.exception()
        if error is None:
            self._failures = 0
            return
        log.warning("standby.failed", worker=one.leader.worker_id, detail=str(error))
        if one in self._waiting:
            self._waiting.remove(one)
            one.leader.kill()
            self._retry_later()

    def _drop(self, one: _Standby) -> None:
        """The process of a leader on standby has gone."""
        if one in self._waiting and one.readying.done():
            self._waiting.remove(one)
            self._retry_later()

    def _retry_later(self) -> None:
        """Refill after a pause that doubles each time.

        So a leader that always fails does not use up a core.
        """
        if self._retry is not None or self._closed:
            return
        pause_s = min(_RETRY_MAX_S, _RETRY_FIRST_S * 2.0**self._failures)
        self._failures += 1
        self._retry = asyncio.get_running_loop().call_later(pause_s, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        self.refill()

    async def _wait_for_end(self, leader: LeaderProcess) -> None:
        """Wait until a killed leader has gone.

        Whoever gave the start up is told that its memory is free.
        """
        if not await leader.ends_within(_END_TIMEOUT_S):
            log.warning("standby.not_stopped", worker=leader.worker_id, pid=leader.process.pid)

    async def _end(self, leaving: list[_Standby]) -> None:
        for one in leaving:
            self._waiting.remove(one)
            one.readying.cancel()
            one.leader.kill()
        await asyncio.gather(*(one.readying for one in leaving), return_exceptions=True)
        await asyncio.gather(*(self._wait_for_end(one.leader) for one in leaving))
        for one in leaving:
            await one.leader.detach()
