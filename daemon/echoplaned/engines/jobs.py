"""Runs the jobs of instances, at most one of a key at a time.

None fails without being noticed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Final

import structlog

from echoplaned.core.fault import EffectKey
from echoplaned.ports.faults import ReportFault
from echoplaned.runtime.faults import run_contained

LOADING: Final = frozenset({"start", "probe"})
"""Kinds of jobs that a load waits for."""

log = structlog.get_logger(__name__)


class Jobs:
    """Runs the work of effects as tasks, by the effect's key.

    The key's first part is the kind of work.

    Args:
        failed: takes what a job raised beside what it handles itself; that must not leave an instance waiting for ever.
        ended: called with the kind after each job.
    """

    def __init__(self, failed: ReportFault, ended: Callable[[str], None]) -> None:
        self._failed = failed
        self._ended = ended
        self._jobs: dict[EffectKey, asyncio.Task[None]] = {}
        self._closing = False

    @property
    def is_loading(self) -> bool:
        """Whether somebody waits for a load."""
        return any(key[0] in LOADING for key in self._jobs)

    def run(self, key: EffectKey, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Run one job, unless it runs already."""
        if key in self._jobs or self._closing:
            return
        job = run_contained(work, lambda error: self._raised(key, error))
        task = asyncio.create_task(job, name=" ".join(map(str, key)))
        self._jobs[key] = task
        task.add_done_callback(lambda done: self._finished(key, done))

    def cancel(self, key: EffectKey) -> bool:
        """Cancel a job without waiting for its end; whether there was one."""
        task = self._jobs.pop(key, None)
        if task is not None:
            task.cancel()
        return task is not None

    async def cancel_all(self, keys: tuple[EffectKey, ...]) -> None:
        """Cancel jobs and wait for their end."""
        found = [task for key in keys if (task := self._jobs.get(key)) is not None]
        for task in found:
            task.cancel()
        await asyncio.gather(*found, return_exceptions=True)

    async def close(self) -> None:
        """Cancel every job; none is begun any more."""
        self._closing = True
        await self.cancel_all(tuple(self._jobs))

    def _finished(self, key: EffectKey, task: asyncio.Task[None]) -> None:
        if self._jobs.get(key) is task:
            del self._jobs[key]
        if not self._closing:
            self._ended(str(key[0]))

    def _raised(self, key: EffectKey, error: BaseException) -> None:
        # It may be told before the task has ended: what the loop asks for again comes a second later.
        if not self._closing:
            self._failed(key, error)


def log_error(task: asyncio.Task[None]) -> None:
    """Log what a task raised: a mistake of ours that must not be silent."""
    if not task.cancelled() and task.exception() is not None:
        log.error("task.failed", task=task.get_name(), exc_info=task.exception())
