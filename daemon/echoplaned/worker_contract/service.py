"""The control service of a leader: load, report, trace, drain, end.

What a leader does behind it is its own.
"""

# ruff: noqa: N802 - the methods have the names of the service
from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import grpc

from echoplane.worker.v1 import worker_pb2, worker_pb2_grpc
from echoplaned.worker_contract.control_key import METADATA_KEY, opens
from echoplaned.worker_contract.order import (
    Loaded,
    LoadFailedError,
    LoadOrder,
    WrongPhaseError,
    read_order,
    write_loaded,
)
from echoplaned.worker_contract.report import Report
from echoplaned.worker_contract.report_wire import clamp_small, write_report

_DEFAULT_INTERVAL_S: Final = 1.0
_DEFAULT_TRACE_INTERVAL_S: Final = 0.2
_MIN_INTERVAL_S: Final = 0.05

REASON_KEY: Final = "echoplane-reason"
"""Metadata beside a refused load: how the version shall be said to have failed."""

Context = grpc.aio.ServicerContext[Any, Any]


class TraceRecorder(Protocol):
    """Traces on their way to the daemon."""

    @property
    def recorded_count(self) -> int:
        """Traces that were kept since the process began, those that were dropped included."""
        ...

    @property
    def dropped_count(self) -> int:
        """Of them, dropped before they were sent."""
        ...

    def sample(self, fraction: float) -> None:
        """Trace this share of the requests from now on, 0 to 1."""
        ...

    def take(self) -> list[worker_pb2.Trace]:
        """Return the oldest traces, as many as one message may hold, and forget them."""
        ...


class Leader(Protocol):
    """Whoever leads an engine. Everything happens on one event loop."""

    @property
    def traces(self) -> TraceRecorder | None:
        """What requests said; None: the engine does not tell."""
        ...

    def report(self) -> Report:
        """Return how it stands."""
        ...

    async def load(self, order: LoadOrder) -> Loaded:
        """Load the one model of this process and return when it answers.

        The same order again has the same result.

        Raises:
            WrongPhaseError: it is not on standby, or has another order.
            LoadFailedError: the engine cannot serve the version.
            ValueError: an option of the order is unknown or out of range.
        """
        ...

    def mark_draining(self, *, draining: bool) -> None:
        """Mark as draining, or take the mark back; it goes on answering either way."""
        ...

    async def wait_for_change(self, timeout_s: float) -> None:
        """Return at the next change that is worth a report, or after the timeout."""
        ...


@dataclass(frozen=True, slots=True)
class StopOrder:
    """End the process.

    Attributes:
        grace_s: time that calls in flight get to end, seconds.
    """

    grace_s: float


class ControlService(worker_pb2_grpc.WorkerServiceServicer):
    """Service by which the daemon controls a leader.

    Every call must carry the key of the leader's record.

    Args:
        leader: what leads the engine.
        stop: takes the order to end; may come more than once, the last one counts.
        key: the control key.
    """

    def __init__(self, leader: Leader, stop: Callable[[StopOrder], None], key: str) -> None:
        self._leader = leader
        self._stop = stop
        self._key = key
        self._stopping = False

    async def Load(self, request: worker_pb2.LoadRequest, context: Context) -> worker_pb2.LoadResponse:
        """Load the model and answer when it serves."""
        await self._check_caller(context)
        try:
            loaded = await self._leader.load(read_order(request))
        except ValueError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except WrongPhaseError as error:
            await context.abort(grpc.StatusCode.ABORTED, str(error))
        except LoadFailedError as error:
            code = grpc.StatusCode.RESOURCE_EXHAUSTED if error.retryable else grpc.StatusCode.FAILED_PRECONDITION
            await context.abort(code, str(error), ((REASON_KEY, error.reason.value),))
        return write_loaded(loaded)

    async def Watch(self, request: worker_pb2.WatchRequest, context: Context) -> AsyncIterator[worker_pb2.WorkerReport]:
        """Report now, at every change of phase, and every interval."""
        await self._check_caller(context)
        interval_s = max(_MIN_INTERVAL_S, request.interval_s or _DEFAULT_INTERVAL_S)
        while not self._stopping:
            yield write_report(self._leader.report())
            await self._leader.wait_for_change(interval_s)

    async def WatchTraces(
        self, request: worker_pb2.WatchTracesRequest, context: Context
    ) -> AsyncIterator[worker_pb2.TraceBatch]:
        """Stream the traces of requests, as long as somebody listens.

        The fraction that is asked for begins, or at 0 ends, the tracing.
        """
        await self._check_caller(context)
        traces = self._leader.traces
        if traces is None:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "this engine does not tell what requests said")
        if not 0 <= request.fraction <= 1:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "fraction must be from 0 to 1")
        interval_s = max(_MIN_INTERVAL_S, request.interval_s or _DEFAULT_TRACE_INTERVAL_S)
        traces.sample(request.fraction)
        while request.fraction > 0 and not self._stopping:
            while taken := traces.take():
                yield worker_pb2.TraceBatch(
                    instance=self._leader.report().instance,
                    traces=taken,
                    recorded_count=traces.recorded_count,
                    dropped_count=traces.dropped_count,
                )
            await self._leader.wait_for_change(interval_s)

    async def Drain(self, request: worker_pb2.DrainRequest, context: Context) -> worker_pb2.DrainResponse:
        """Mark as draining, or take the mark back."""
        await self._check_caller(context)
        await self._check_generation(request.generation, context)
        self._leader.mark_draining(draining=not request.undo)
        return worker_pb2.DrainResponse(in_flight_count=clamp_small(self._leader.report().counters.in_flight))

    async def Shutdown(self, request: worker_pb2.ShutdownRequest, context: Context) -> worker_pb2.ShutdownResponse:
        """End soon; the answer comes first."""
        await self._check_caller(context)
        await self._check_generation(request.generation, context)
        self._stop(StopOrder(request.grace_s))
        return worker_pb2.ShutdownResponse()

    def close(self) -> None:
        """End every watch."""
        self._stopping = True

    async def _check_caller(self, context: Context) -> None:
        if not opens(self._key, context.invocation_metadata()):
            detail = f"control is for the daemon that leads this engine: metadata {METADATA_KEY} is missing or wrong"
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, detail)

    async def _check_generation(self, generation: int, context: Context) -> None:
        here = self._leader.report().generation
        if generation not in {0, here}:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"generation {here} runs here, not {generation}")
