"""What the daemon asks of a worker: load, report, trace, drain, end."""

# ruff: noqa: N802 - the methods have the names of the service
from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc

from echoplane.v1 import types_pb2
from echoplane.worker.v1 import worker_pb2, worker_pb2_grpc
from echoplaned.core.facts import Dtype, Signature, Task
from echoplaned.core.ids import InstanceKey
from echoplaned.engines.record import WorkerPhase
from echoplaned.worker.errors import LoadError
from echoplaned.worker.memory import MemoryUse, read_memory
from echoplaned.worker.options import LoadOptions
from echoplaned.worker.shape import BatchShape
from echoplaned.worker.worker import Serving, Worker, WrongPhaseError

_DEFAULT_INTERVAL_S: Final = 1.0
_DEFAULT_TRACE_INTERVAL_S: Final = 0.2
_MIN_INTERVAL_S: Final = 0.05
_MAX_TORCH_THREADS: Final = 256

_STATES: Final = {
    WorkerPhase.WARMING: worker_pb2.WORKER_STATE_WARMING,
    WorkerPhase.SPARE: worker_pb2.WORKER_STATE_SPARE,
    WorkerPhase.LOADING: worker_pb2.WORKER_STATE_LOADING,
    WorkerPhase.READY: worker_pb2.WORKER_STATE_READY,
    WorkerPhase.FAILED: worker_pb2.WORKER_STATE_FAILED,
}

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class StopOrder:
    """End the process; ``grace_s`` for the calls in flight."""

    grace_s: float


class ControlService(worker_pb2_grpc.WorkerServiceServicer):
    """The daemon's side of a worker.

    Args:
        worker: the worker's state.
        stop: takes the order to end; may come more than once, the last one counts.
    """

    def __init__(self, worker: Worker, stop: Callable[[StopOrder], None]) -> None:
        self._worker = worker
        self._stop = stop
        self._stopping = False

    async def Load(self, request: worker_pb2.LoadRequest, context: Context) -> worker_pb2.LoadResponse:
        """Load the model and answer when it serves."""
        try:
            options = read_load(request)
        except ValueError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        try:
            serving = await self._worker.load(options)
        except WrongPhaseError as error:
            await context.abort(grpc.StatusCode.ABORTED, str(error))
        except LoadError as error:
            code = grpc.StatusCode.RESOURCE_EXHAUSTED if error.retryable else grpc.StatusCode.FAILED_PRECONDITION
            await context.abort(code, str(error))
        return _loaded(serving, self._worker.engine_version)

    async def Watch(self, request: worker_pb2.WatchRequest, context: Context) -> AsyncIterator[worker_pb2.WorkerReport]:
        """Report now, at every change of phase, and every interval."""
        del context
        interval_s = max(_MIN_INTERVAL_S, request.interval_s or _DEFAULT_INTERVAL_S)
        while not self._stopping:
            yield make_report(self._worker)
            await self._worker.wait_for_change(interval_s)

    async def WatchTraces(
        self, request: worker_pb2.WatchTracesRequest, context: Context
    ) -> AsyncIterator[worker_pb2.TraceBatch]:
        """Send what requests said, as long as somebody listens; begin, or cease, to keep it."""
        if not 0 <= request.fraction <= 1:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "fraction must be from 0 to 1")
        interval_s = max(_MIN_INTERVAL_S, request.interval_s or _DEFAULT_TRACE_INTERVAL_S)
        channel = self._worker.tracer.channel
        self._worker.tracer.sample(request.fraction)
        while request.fraction > 0 and not self._stopping:
            while traces := channel.take():
                yield worker_pb2.TraceBatch(
                    instance=str(self._worker.options.instance) if self._worker.options else "",
                    traces=traces,
                    recorded_count=channel.recorded_count,
                    dropped_count=channel.dropped_count,
                )
            await self._worker.wait_for_change(interval_s)

    async def Drain(self, request: worker_pb2.DrainRequest, context: Context) -> worker_pb2.DrainResponse:
        """Mark as draining, or take the mark back."""
        await self._check_generation(request.generation, context)
        self._worker.mark_draining(draining=not request.undo)
        return worker_pb2.DrainResponse(in_flight_count=self._worker.counters.in_flight)

    async def Shutdown(self, request: worker_pb2.ShutdownRequest, context: Context) -> worker_pb2.ShutdownResponse:
        """End soon; the answer comes first."""
        await self._check_generation(request.generation, context)
        self._stop(StopOrder(request.grace_s))
        return worker_pb2.ShutdownResponse()

    def close(self) -> None:
        """End every watch."""
        self._stopping = True

    async def _check_generation(self, generation: int, context: Context) -> None:
        here = self._worker.options.generation if self._worker.options else 0
        if generation not in {0, here}:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"generation {here} runs here, not {generation}")


def read_load(request: worker_pb2.LoadRequest) -> LoadOptions:
    """Read an order to load.

    Raises:
        ValueError: a field or an option is missing, unknown or out of range.
    """
    instance = InstanceKey.parse(request.instance)
    if (request.model_id, request.version_id) != (instance.version.model, instance.version.version):
        raise ValueError("model_id and version_id must be those of the instance")
    if not request.source_path or request.generation < 1 or request.context_length < 1 or request.max_concurrency < 1:
        raise ValueError("source_path, generation, context_length and max_concurrency are needed")
    options = dict(request.engine_options)
    threads = int(options.pop("torch_threads", "1"))
    if options:
        raise ValueError(f"unknown engine options {sorted(options)}; the torch engine knows torch_threads")
    if not 1 <= threads <= _MAX_TORCH_THREADS:
        raise ValueError(f"torch_threads must be from 1 to {_MAX_TORCH_THREADS}")
    return LoadOptions(
        instance=instance,
        generation=request.generation,
        source_path=Path(request.source_path),
        task=Task(types_pb2.Task.Name(request.task).removeprefix("TASK_")),
        dtype=Dtype(types_pb2.Dtype.Name(request.dtype).removeprefix("DTYPE_")),
        context_length=request.context_length,
        max_concurrency=request.max_concurrency,
        torch_threads=threads,
        device="cpu" if request.device_id in {"", "host"} else request.device_id,
    )


def make_report(worker: Worker) -> worker_pb2.WorkerReport:
    """Write down how the worker stands."""
    counters = worker.counters
    report = worker_pb2.WorkerReport(
        state=_STATES[worker.phase],
        ok_count=counters.ok,
        client_error_count=counters.client_errors,
        server_error_count=counters.server_errors,
        arrival_count=counters.arrivals,
        in_flight_count=counters.in_flight,
        seconds_since_last_arrival=counters.seconds_since_last_arrival,
        memory=_memory(read_memory(), worker),
        engine_version=worker.engine_version,
        cpu_isa=worker.cpu_isa,
        failure=worker.failure,
        draining=worker.draining,
        pid=os.getpid(),
    )
    if worker.options is not None:
        report.instance = str(worker.options.instance)
        report.generation = worker.options.generation
    if worker.serving is not None:
        report.progress_count = worker.serving.batcher.progress
        report.queued_count = worker.serving.batcher.waiting
    return report


def _memory(now: MemoryUse, worker: Worker) -> worker_pb2.WorkerMemory:
    spare = worker.spare_memory
    exercised = worker.serving.batcher.exercised if worker.serving else BatchShape()
    return worker_pb2.WorkerMemory(
        rss_bytes=now.rss_bytes,
        rss_anon_bytes=now.anon_bytes,
        rss_file_bytes=now.file_bytes,
        peak_rss_bytes=now.peak_bytes,
        spare_rss_anon_bytes=spare.anon_bytes if spare else 0,
        spare_rss_file_bytes=spare.file_bytes if spare else 0,
        load_peak_rss_bytes=worker.load_peak_bytes,
        exercised_sequences=exercised.sequences,
        exercised_tokens=exercised.tokens,
    )


def _loaded(serving: Serving, engine_version: str) -> worker_pb2.LoadResponse:
    response = worker_pb2.LoadResponse(
        tensor_bytes=serving.model.tensor_bytes, load_s=serving.load_s, engine_version=engine_version
    )
    _write_signature(response, serving.model.signature)
    return response


def _write_signature(response: worker_pb2.LoadResponse, signature: Signature) -> None:
    for spec in signature.inputs:
        response.signature.inputs.add(name=spec.name, datatype=spec.datatype, shape=spec.shape)
    for spec in signature.outputs:
        response.signature.outputs.add(name=spec.name, datatype=spec.datatype, shape=spec.shape)
