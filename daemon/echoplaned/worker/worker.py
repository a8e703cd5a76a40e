"""The worker's own state, from standby to serving one instance.

Owned by the event loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from echoplaned.worker.answering import Answerer
from echoplaned.worker.batching import Batcher
from echoplaned.worker.completing import Completer
from echoplaned.worker.loop_turns import LoopTurns
from echoplaned.worker.memory import MemoryUse, read_memory, release_free_memory, reset_peak
from echoplaned.worker.options import LoadOptions
from echoplaned.worker.ports import ModelRuntime, ServedModel
from echoplaned.worker.tracing import Tracer
from echoplaned.worker_contract.inference.counters import RequestCounters
from echoplaned.worker_contract.inference.errors import LoadError
from echoplaned.worker_contract.order import WrongPhaseError
from echoplaned.worker_contract.record import RecordFile, WorkerPhase

_JOIN_S: Final = 5.0
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Serving:
    """The one model of this process and what runs it.

    Attributes:
        model: loaded model.
        batcher: queue and inference thread of the model.
        answerer: what runs requests through the batcher.
        completer: what runs generations through the batcher and answers them as text.
        load_s: seconds that the load took.
        writing: turns at the loop for writing large answers.
    """

    model: ServedModel
    batcher: Batcher
    answerer: Answerer
    completer: Completer
    load_s: float
    writing: LoopTurns = field(default_factory=LoopTurns)


class Worker:
    """Warms up, loads once, serves.

    Args:
        record_file: the worker's record, kept up to date with each phase.
        clock: monotonic seconds.
        tracer: takes what requests say.
        on_death: called from any thread when the inference thread has died.
    """

    def __init__(
        self, record_file: RecordFile, clock: Callable[[], float], tracer: Tracer, on_death: Callable[[], None]
    ) -> None:
        self._record_file = record_file
        self.tracer = tracer
        self._clock = clock
        self._on_death = on_death
        self._runtime: ModelRuntime | None = None
        self._loading: asyncio.Task[Serving] | None = None
        self._options: LoadOptions | None = None
        self._changed = asyncio.Event()
        self.counters = RequestCounters(clock)
        self.serving: Serving | None = None
        self.draining = False
        self.failure = ""
        self.standby_memory: MemoryUse | None = None
        self.load_peak_bytes = 0

    @property
    def phase(self) -> WorkerPhase:
        """How far the worker has come."""
        return self._record_file.record.phase

    @property
    def options(self) -> LoadOptions | None:
        """What it was told to load; None: nothing yet."""
        return self._options

    @property
    def links_dir(self) -> Path:
        """Where links to the files of a checkpoint are while it is loaded."""
        return self._record_file.links_dir

    @property
    def engine_version(self) -> str:
        """Names and versions of the libraries that run the model; empty before it is warm."""
        return "" if self._runtime is None else self._runtime.engine_version

    @property
    def cpu_isa(self) -> str:
        """The instruction set that the matrix library uses.

        Empty before the worker is warm.
        """
        return "" if self._runtime is None else self._runtime.cpu_isa

    def warmed(self, runtime: ModelRuntime) -> None:
        """Take the loaded libraries and go on standby from now on."""
        self._runtime = runtime
        release_free_memory()
        reset_peak()
        self.standby_memory = read_memory()
        self._enter(WorkerPhase.STANDBY)

    def failed(self, reason: str) -> None:
        """The worker is of no use any more."""
        self.failure = reason
        self._enter(WorkerPhase.FAILED)

    def mark_draining(self, *, draining: bool) -> None:
        """Mark the worker as draining, or take the mark back.

        It goes on answering either way.
        """
        self.draining = draining
        self.notify()

    async def load(self, options: LoadOptions) -> Serving:
        """Load the model, once.

        The same order again waits for, or returns, the same result.

        Raises:
            WrongPhaseError: the worker is not warm, or has another order already.
            LoadError: the checkpoint cannot be served; the worker is FAILED then.
        """
        if self._loading is None:
            if self.phase is not WorkerPhase.STANDBY:
                raise WrongPhaseError(f"the worker is {self.phase}, not a worker on standby")
            self._options = options
            self._loading = asyncio.create_task(self._load(options))
        elif options != self._options:
            raise WrongPhaseError(f"the worker has its order already: {self._record_file.record.instance}")
        return await asyncio.shield(self._loading)

    async def wait_for_change(self, timeout_s: float) -> None:
        """Return at the next change of phase, or after the timeout."""
        changed = self._changed
        try:
            async with asyncio.timeout(timeout_s):
                await changed.wait()
        except TimeoutError:
            return

    def close(self) -> None:
        """Fail what waits and end the inference thread."""
        self.notify()
        if self.serving is not None:
            self.serving.batcher.close(_JOIN_S)

    async def _load(self, options: LoadOptions) -> Serving:
        runtime = self._runtime
        if runtime is None:
            raise WrongPhaseError("the worker is not warm")
        self._enter(WorkerPhase.LOADING, str(options.instance), options.generation)
        reset_peak()
        began_s = self._clock()
        try:
            model = await asyncio.to_thread(runtime.load, options)
        except LoadError as error:
            _log.warning("load.failed", reason=str(error))
            self.failed(str(error))
            raise
        batcher = Batcher(
            model.start_run,
            slots=options.max_concurrency,
            queue_limit=options.queue_limit,
            on_death=self._on_death,
            clock=self._clock,
        )
        batcher.start()
        load_s = self._clock() - began_s
        answerer = Answerer(model, batcher, self.tracer)
        self.serving = Serving(model, batcher, answerer, Completer(model, batcher, self.tracer), load_s)
        self.load_peak_bytes = read_memory().peak_bytes
        release_free_memory()
        reset_peak()
        self._enter(WorkerPhase.READY)
        _log.info(
            "model.loaded", load_s=round(load_s, 3), tensor_bytes=model.tensor_bytes, threads=threading.active_count()
        )
        return self.serving

    def _enter(self, phase: WorkerPhase, instance: str | None = None, generation: int | None = None) -> None:
        self._record_file.update(phase, instance=instance, generation=generation)
        _log.info("phase.changed", phase=phase.value)
        self.notify()

    def notify(self) -> None:
        """Wake every watcher, and give later ones a fresh event."""
        self._changed.set()
        self._changed = asyncio.Event()
