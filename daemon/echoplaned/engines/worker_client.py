"""The daemon's end of a worker's control service."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final, cast

import grpc

from echoplane.worker.v1 import worker_pb2, worker_pb2_grpc
from echoplaned.core.calibration import MemoryUsage
from echoplaned.core.cpu_isa import CpuIsa
from echoplaned.core.effects import StartEngine
from echoplaned.engines.channels import open_channel
from echoplaned.engines.record import WorkerPhase
from echoplaned.runtime.ports import TrafficCounts

_LOAD_DEADLINE_S: Final = 3600.0
_CALL_DEADLINE_S: Final = 5.0

_PHASES: Final = {
    worker_pb2.WORKER_STATE_WARMING: WorkerPhase.WARMING,
    worker_pb2.WORKER_STATE_SPARE: WorkerPhase.SPARE,
    worker_pb2.WORKER_STATE_LOADING: WorkerPhase.LOADING,
    worker_pb2.WORKER_STATE_READY: WorkerPhase.READY,
    worker_pb2.WORKER_STATE_FAILED: WorkerPhase.FAILED,
}


@dataclass(frozen=True, slots=True)
class Report:
    """How a worker stands.

    ``idle_s``: seconds since a call arrived; None: none has. ``model_bytes``: resident memory above the warm spare,
    anonymous and file pages together. ``usage``: its peaks and what they speak of; None until it serves.
    """

    phase: WorkerPhase
    counts: TrafficCounts
    idle_s: float | None
    progress: int
    model_bytes: int
    failure: str
    usage: MemoryUsage | None = None


class WorkerRefusedError(Exception):
    """A worker answered a control call with an error. ``code`` is its gRPC status."""

    def __init__(self, code: grpc.StatusCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class WorkerClient:
    """Control calls to one worker.

    Args:
        address: ``host:port`` of the worker.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.channel = open_channel(address)
        stub = worker_pb2_grpc.WorkerServiceStub(self.channel)
        self._stub = cast("worker_pb2_grpc.WorkerServiceAsyncStub", stub)

    async def load(self, effect: StartEngine) -> None:
        """Make the worker load an instance; returns when it serves.

        Raises:
            WorkerRefusedError: it did not.
        """
        spec, version = effect.spec, effect.instance.version
        request = worker_pb2.LoadRequest(
            instance=str(effect.instance),
            generation=effect.generation,
            model_id=version.model,
            version_id=version.version,
            source_path=spec.source_path,
            dtype=f"DTYPE_{spec.dtype}",
            task=f"TASK_{effect.facts.task}",
            context_length=spec.context_length,
            max_concurrency=spec.max_concurrency,
            engine_options=dict(spec.engine_options),
            device_id=effect.device_id,
        )
        try:
            await self._stub.Load(request, timeout=_LOAD_DEADLINE_S)
        except grpc.aio.AioRpcError as error:
            raise WorkerRefusedError(error.code(), error.details() or error.code().name) from error

    async def reports(self, interval_s: float) -> AsyncGenerator[Report, None]:
        """Yield reports until the stream breaks, which is no error here: the process's end is seen elsewhere."""
        try:
            async for message in self._stub.Watch(worker_pb2.WatchRequest(interval_s=interval_s)):
                yield read_report(message)
        except grpc.aio.AioRpcError:
            return

    async def traces(self, fraction: float) -> AsyncGenerator[worker_pb2.TraceBatch, None]:
        """Yield what requests said until the stream breaks, which is no error here; a fraction of 0 ends the worker's tracing and this."""
        try:
            async for batch in self._stub.WatchTraces(worker_pb2.WatchTracesRequest(fraction=fraction)):
                yield batch
        except grpc.aio.AioRpcError:
            return

    async def mark_draining(self, generation: int, *, draining: bool) -> None:
        """Mark the worker as draining, or take the mark back; a worker that does not answer is dealt with elsewhere."""
        request = worker_pb2.DrainRequest(generation=generation, undo=not draining)
        try:
            await self._stub.Drain(request, timeout=_CALL_DEADLINE_S)
        except grpc.aio.AioRpcError:
            return

    async def shut_down(self, grace_s: float) -> bool:
        """Ask the worker to end; whether it said yes."""
        try:
            await self._stub.Shutdown(worker_pb2.ShutdownRequest(grace_s=grace_s), timeout=grace_s + 1.0)
        except grpc.aio.AioRpcError:
            return False
        return True

    async def close(self) -> None:
        """Close the channel."""
        await self.channel.close(None)


def read_report(message: worker_pb2.WorkerReport) -> Report:
    """Read a worker's report."""
    memory = message.memory
    above_spare = (memory.rss_anon_bytes - memory.spare_rss_anon_bytes) + (
        memory.rss_file_bytes - memory.spare_rss_file_bytes
    )
    spare_bytes = memory.spare_rss_anon_bytes + memory.spare_rss_file_bytes
    usage = MemoryUsage(
        engine_version=message.engine_version,
        load_peak_bytes=max(0, memory.load_peak_rss_bytes - spare_bytes),
        serving_peak_bytes=max(0, memory.peak_rss_bytes - spare_bytes),
        file_bytes=max(0, memory.rss_file_bytes - memory.spare_rss_file_bytes),
        sequences=memory.exercised_sequences,
        tokens=memory.exercised_tokens,
        cpu_isa=_isa(message.cpu_isa),
    )
    return Report(
        phase=_PHASES.get(message.state, WorkerPhase.WARMING),
        counts=TrafficCounts(
            ok=message.ok_count,
            client_errors=message.client_error_count,
            server_errors=message.server_error_count,
            arrivals=message.arrival_count,
            in_flight=message.in_flight_count,
        ),
        idle_s=message.seconds_since_last_arrival if message.HasField("seconds_since_last_arrival") else None,
        progress=message.progress_count,
        model_bytes=max(0, above_spare),
        failure=message.failure,
        usage=usage if memory.load_peak_rss_bytes else None,
    )


def _isa(name: str) -> CpuIsa | None:
    """Return what a worker's library uses; None where it does not say, or says what this daemon does not know."""
    return CpuIsa(name) if name in set(CpuIsa) and name != CpuIsa.UNKNOWN else None
