"""Reads an engine's metrics and memory now and then.

What could not be read stays as it was.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from echoplaned.core.engine_figures import EngineFigures
from echoplaned.core.numbers import clamp_count
from echoplaned.engine_kinds.foreign import Build, ForeignEngine
from echoplaned.supervisor.http import EngineAddress, EngineHttp, EngineSlowError, HttpAnswer
from echoplaned.supervisor.memory import FamilyUse, MemoryMeter, read_use
from echoplaned.supervisor.metrics import EngineNumbers, read_page
from echoplaned.supervisor.process import family_pids

_BUSY_S: Final = 0.5
_IDLE_S: Final = 1.0
_TIMEOUT_S: Final = 5.0
_MAX_PAGE_BYTES: Final = 4 * 1024 * 1024
_MEMORY_START_S: Final = 0.5
_MEMORY_SERVING_S: Final = 5.0
_MEMORY_MOST_S: Final = 60.0
_MEMORY_SHARE: Final = 0.02
"""Of a core at most for readings of memory, as long as they come once a minute."""

_MAX_NOTE: Final = 500


def _read_context(found: object) -> int:
    """Read the context length, in tokens, from a list of models; 0: not told.

    It is ``max_model_len`` (vLLM, Aphrodite, SGLang), or ``meta.n_ctx`` (llama-server).
    """
    models = found.get("data") if isinstance(found, dict) else None
    first = models[0] if isinstance(models, list) and models else None
    if not isinstance(first, dict):
        return 0
    meta = first.get("meta")
    count = first.get("max_model_len") or (meta.get("n_ctx") if isinstance(meta, dict) else None)
    return _whole(count)


def _whole(count: object) -> int:
    return clamp_count(count) if isinstance(count, int) else 0


def pause_s(took_s: float, *, serving: bool) -> float:
    """Return how long to wait after a reading, seconds.

    ``took_s``: processor time of the reading, seconds.

    The kernel walks all pages of a process for it, and holds up what that process maps meanwhile.
    """
    usual_s = _MEMORY_SERVING_S if serving else _MEMORY_START_S
    return max(usual_s, min(_MEMORY_MOST_S, took_s / _MEMORY_SHARE))


def _read_timed() -> tuple[FamilyUse, float]:
    began_s = time.thread_time()
    use = read_use(family_pids())
    return use, time.thread_time() - began_s


class EngineWatch:
    """Reads one engine from its first process on.

    A page that does not come in time says nothing of the engine's health: a long step delays it. That an engine is stuck is told by
    its steps, which then stand still.

    Args:
        engine: what its pages mean.
        build: of the engine.
        address: where it listens.
        changed: told of what is worth a report.
        meter: keeps what it measures of memory.
        note: takes a line for the log.
    """

    def __init__(
        self,
        engine: ForeignEngine,
        build: Build,
        address: EngineAddress,
        changed: Callable[[], None],
        meter: MemoryMeter,
        *,
        note: Callable[[str], None],
    ) -> None:
        self._engine = engine
        self._names = engine.metric_names(build.metrics_version)
        self._http = EngineHttp(address)
        self._changed = changed
        self._note = note
        self._noted: set[type[Exception]] = set()
        self.memory = meter
        self.numbers: EngineNumbers | None = None
        self.figures: EngineFigures | None = None
        self._active_s: float | None = None
        self._serving = False
        self._measuring_s = 0.0
        self._context_length = 0
        self._tasks = [asyncio.get_running_loop().create_task(self._measure(), name="memory")]

    @property
    def counts_requests(self) -> bool:
        """Whether the engine itself tells how its requests ended."""
        return self._names.counts_requests

    async def started(self) -> None:
        """The engine serves from now on."""
        await self._survive(self._measure_once())
        self.memory.started()
        self._serving = True
        if self._engine.routes.metrics:
            await self._survive(self._scrape_once())
            self._active_s = None
        numbers = self.numbers.figures if self.numbers is not None else EngineFigures()
        await self._survive(self._read_context_once())
        self.figures = replace(numbers, context_length=self._context_length)
        if self._engine.routes.metrics:
            self._tasks.append(asyncio.get_running_loop().create_task(self._scrape(), name="metrics"))

    def idle_s(self, since_call_s: float | None) -> float | None:
        """Return seconds since a request was seen, here or by the engine itself.

        None: none was.
        """
        since = [] if since_call_s is None else [since_call_s]
        if self._active_s is not None:
            since.append(time.monotonic() - self._active_s)
        return min(since, default=None)

    def close(self) -> None:
        """Read no more."""
        for task in self._tasks:
            task.cancel()
        self._http.close()

    async def _survive(self, reading: Awaitable[None]) -> None:
        """Wait for a reading; what it cannot read stays as it was.

        Each kind of trouble is noted once: readings come once a second, for as long as the engine lives.
        """
        try:
            await reading
        except EngineSlowError:
            pass  # a long step delays it
        except Exception as error:  # noqa: BLE001 - the boundary: whatever an engine writes, the next reading is taken
            if type(error) not in self._noted:
                self._noted.add(type(error))
                self._note(f"the engine's numbers cannot be read: {type(error).__name__}: {error}"[:_MAX_NOTE])

    async def _measure(self) -> None:
        while True:
            await self._survive(self._measure_once())
            await asyncio.sleep(pause_s(self._measuring_s, serving=self._serving))

    async def _measure_once(self) -> None:
        use, self._measuring_s = await asyncio.to_thread(_read_timed)
        self.memory.take(use)

    async def _scrape(self) -> None:
        while True:
            await self._survive(self._scrape_once())
            busy = self.numbers is not None and self.numbers.in_flight > 0
            await asyncio.sleep(_BUSY_S if busy else _IDLE_S)

    async def _get(self, path: str) -> HttpAnswer:
        return await self._http.call("GET", path, timeout_s=_TIMEOUT_S, most_bytes=_MAX_PAGE_BYTES)

    async def _read_context_once(self) -> None:
        """Read the tokens of one sequence as the engine has them; 0: it does not tell."""
        answer = await self._get("/v1/models")
        self._context_length = _read_context(answer.json()) if answer.status == 200 else 0

    async def _load(self) -> int:
        """Return how many requests the engine's HTTP service has under way.

        Its gauges are written by the very process that may be stuck: one that stopped before a request came says 0.
        """
        answer = await self._get(self._engine.routes.load)
        found = answer.json() if answer.status == 200 else None
        return _whole(found.get(self._engine.routes.load_field)) if isinstance(found, dict) else 0

    async def _scrape_once(self) -> None:
        routes = self._engine.routes
        answer = await self._get(routes.metrics)
        if answer.status != 200:
            return
        # A page of a large engine takes a good while, in which calls are answered.
        numbers = await asyncio.to_thread(read_page, answer.body.decode("utf-8", errors="replace"), self._names)
        if routes.load:
            numbers = replace(numbers, in_flight=max(numbers.in_flight, await self._load()))
        if self.numbers is not None and numbers.in_flight > 0:
            self._active_s = time.monotonic()
        self.numbers = numbers
