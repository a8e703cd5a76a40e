"""Dynamic micro-batching: one thread computes, what arrives meanwhile follows.

There is no fixed wait: whatever arrived while a batch was computed is the next batch.

Connections take turns at the places of a batch, and each has a share of the queue: who sends a thousand calls waits for itself.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final, Protocol

import structlog

from echoplaned.core.budgets import Budget, BudgetExceededError
from echoplaned.core.fair_queue import FairQueue
from echoplaned.core.token_counts import TokenCounts
from echoplaned.worker.sequences import RowFailure, RowOutcome, Token, TokenSequence
from echoplaned.worker.shape import BatchShape
from echoplaned.worker.step_times import StepTimes
from echoplaned.worker_contract.inference.errors import CallError, ModelFailedError, NotServingError, OverloadedError

_MIN_BUCKET: Final = 16
_MAX_LOGGED: Final = 500  # characters of an error: some quote their operands
_log = structlog.get_logger()

# What a forward pass raises when a model or device fails (out of memory included); the row fails, the worker goes on.
# A model's code asserts, looks up and runs out of host memory as well; whatever else comes is a fault of ours, and ends the process.
_MODEL_ERRORS: Final = (
    RuntimeError,
    ValueError,
    LookupError,
    TypeError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    MemoryError,
)


class Run(Protocol):
    """A batch under way."""

    @property
    def done(self) -> bool:
        """Whether nothing is left to compute."""
        ...

    @property
    def rows(self) -> list[TokenSequence]:
        """The sequences that still wait."""
        ...

    def step(self) -> list[RowOutcome]:
        """Compute once and return what came out."""
        ...

    def alone(self, row: TokenSequence) -> Run:
        """Return a batch of one row, to go on alone after a step that failed.

        The row is one of those that still wait; its batch goes on where this one stood before that step.
        """
        ...


def bucket_of(length: int) -> int:
    """Return the length bucket of a sequence, in tokens: the next power of two.

    Padding to it at most doubles the work.
    """
    return max(_MIN_BUCKET, 1 << (length - 1).bit_length())


class Batcher:
    """The queue in front of a model and the thread behind it.

    Args:
        start_run: makes a batch of sequences ready to be stepped; called on the inference thread.
        slots: sequences that may be under way at once.
        queue_limit: sequences that may wait, of which a connection has its share.
        on_death: called on the inference thread if it ends by an error of ours, which leaves the worker of no use.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        start_run: Callable[[list[TokenSequence]], Run],
        *,
        slots: int,
        queue_limit: int,
        on_death: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._start_run = start_run
        self._slots = slots
        self._places = Budget("places in the queue", queue_limit)
        self._on_death = on_death
        self._loop = asyncio.get_running_loop()
        self._waiting: FairQueue[TokenSequence] = FairQueue()
        self._changed = threading.Condition()
        self._closed = False
        self._progress = 0
        self._tokens = TokenCounts()
        self._times = StepTimes(clock)
        self._exercised = BatchShape()
        self._thread = threading.Thread(target=self._work, name="inference", daemon=True)

    @property
    def progress(self) -> int:
        """Number of steps computed so far.

        A number that stands still while calls are in flight means a stuck model.
        """
        return self._progress

    @property
    def tokens(self) -> TokenCounts:
        """Tokens of the rows that were taken into a batch, and those generated.

        A row counts once, also where its batch failed and it was computed again.
        """
        return self._tokens

    @property
    def is_stalled(self) -> bool:
        """Whether the step under way takes far longer than nearly all before it.

        The model is at fault then, not its load.
        """
        return self._times.is_stalled

    @property
    def step_expected_s(self) -> float:
        """Seconds that the step under way is expected to take; 0: unknown.

        0 as well where no step is under way.
        """
        return self._times.expected_s

    @property
    def exercised(self) -> BatchShape:
        """The largest batch whose first step was computed.

        The process's peak of memory so far is that of a batch of this shape.
        """
        return self._exercised

    @property
    def waiting(self) -> int:
        """Sequences that wait for a slot."""
        return len(self._waiting)

    def start(self) -> None:
        """Start the inference thread."""
        self._thread.start()

    def submit(self, sequences: list[TokenSequence]) -> None:
        """Queue the rows of one request, which come on one connection, all or none.

        Raises:
            OverloadedError: the queue has no room for them, or the connection has its share of it.
            NotServingError: the batcher is closed.
        """
        with self._changed:
            if self._closed:
                raise NotServingError("the worker is stopping")
            try:
                self._places.acquire(sequences[0].peer, len(sequences))
            except BudgetExceededError as refused:
                waiting, limit = len(self._waiting), self._places.total
                raise OverloadedError(f"{waiting} sequences are waiting; the limit is {limit}: {refused}") from None
            for sequence in sequences:
                self._waiting.put(sequence.peer, sequence)
            self._changed.notify()

    def cancel(self, sequences: Iterable[TokenSequence]) -> None:
        """Drop the rows of one request.

        They leave the queue at once, and a batch after its current step.
        """
        gone = list(sequences)
        for sequence in gone:
            sequence.cancel()
        with self._changed:
            for sequence in gone:
                if self._waiting.remove(sequence.peer, sequence):
                    self._places.release(sequence.peer)

    def close(self, timeout_s: float) -> None:
        """Refuse new rows, fail the waiting ones and wait for the thread. Event loop only."""
        with self._changed:
            self._closed = True
            left = self._waiting.clear()
            self._changed.notify()
        for sequence in left:
            sequence.deliver(RowFailure(NotServingError("the worker is stopping")))
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _work(self) -> None:
        """Run batches until closed: new ones as slots allow, one step of each in turn."""
        active: list[Run] = []
        finished = False
        try:
            while not self._closed:
                batch = self._next_batch(self._slots - sum(len(run.rows) for run in active), wait=not active)
                begun = self._begin(batch)
                left = [rest for run in active for rest in self._step(run, len(run.rows))]
                # A batch's first step computes all of its tokens, each later one a token a row.
                active = left + [rest for run in begun for rest in self._step(run, BatchShape.of(run.rows).positions)]
                # Noted after its step: a report in between would give a larger batch the peak of the smaller ones before it.
                self._exercised = self._exercised.larger(BatchShape.of(batch))
            self._fail([row for run in active for row in run.rows], NotServingError("the worker is stopping"))
            finished = True
        finally:
            if not finished:
                self._on_death()

    def _begin(self, rows: list[TokenSequence]) -> list[Run]:
        """Make rows ready to be stepped: together, or each alone where that fails."""
        if not rows:
            return []
        try:
            return [self._start_run(rows)]
        except _MODEL_ERRORS as error:
            self._model_failed(rows, error)
        return [run for row in rows for run in self._begin([row])] if len(rows) > 1 else []

    def _step(self, run: Run, tokens: int) -> list[Run]:
        """Compute one step of a batch, of so many tokens, and return what is left of it.

        Where the model fails, each row goes on alone: what one caller sent must not fail the calls that met it in a batch.
        """
        self._times.began(tokens)
        try:
            outcomes = run.step()
        except _MODEL_ERRORS as error:
            rows = run.rows
            self._model_failed(rows, error)
            return [apart for row in rows for apart in self._part(run, row)] if len(rows) > 1 else []
        finally:
            self._times.ended()
            self._progress += 1
        self._tokens += TokenCounts(generated=sum(isinstance(outcome, Token) for _, outcome in outcomes))
        self._post(outcomes)
        return [] if run.done else [run]

    def _part(self, run: Run, row: TokenSequence) -> list[Run]:
        """Return a row of a batch that failed, to go on alone."""
        if row.cancelled:
            return []
        try:
            return [run.alone(row)]
        except _MODEL_ERRORS as error:
            self._model_failed([row], error)
        return []

    def _model_failed(self, rows: list[TokenSequence], error: Exception) -> None:
        """Note that the model failed; fail the row if it was computed alone.

        In a batch of several it is not known which row is at fault, or whether the model is.
        """
        _log.warning("model.failed", error_type=type(error).__name__, error=str(error)[:_MAX_LOGGED], rows=len(rows))
        if len(rows) == 1:
            self._fail(rows, ModelFailedError(f"the model failed: {type(error).__name__}"))

    def _next_batch(self, free_slots: int, *, wait: bool) -> list[TokenSequence]:
        """Take the row whose turn it is and others of its kind, up to the free slots."""
        with self._changed:
            while wait and not len(self._waiting) and not self._closed:
                self._changed.wait()
            if self._closed or free_slots <= 0 or not len(self._waiting):
                return []
            taken = self._waiting.pop_alike(free_slots, _kind)
            for row in taken:
                self._places.release(row.peer)
            self._tokens += TokenCounts(prompt=sum(len(row.token_ids) for row in taken))
            return taken

    def _fail(self, rows: list[TokenSequence], error: CallError) -> None:
        self._post([(row, RowFailure(error)) for row in rows])

    def _post(self, outcomes: list[RowOutcome]) -> None:
        """Hand outcomes to the event loop, all of a step in one call."""
        if outcomes and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_deliver_all, outcomes)


def _kind(row: TokenSequence) -> tuple[int, bool, bool]:
    """Return what the rows of a batch must have in common.

    That is the length bucket, whether they are scored, and whether they are computed in INT8.
    """
    return bucket_of(len(row.token_ids)), row.scoring is not None, row.as_int8


def _deliver_all(outcomes: list[RowOutcome]) -> None:
    """Hand each row its outcome, in a callback of its own.

    A listener that fails keeps nothing from the others.
    """
    loop = asyncio.get_running_loop()
    for sequence, outcome in outcomes:
        loop.call_soon(sequence.deliver, outcome)
