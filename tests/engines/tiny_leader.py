"""A leader for tests, over the contract's server helper: its engine is a child that sleeps, its model a checksum.

Engine options: ``endless``: the start never ends; ``broken``: the version cannot be loaded.
A file in its state directory spoils its answers from then on: ``hang``: they never come; ``zeros``: they are zeros.
"""

# ruff: noqa: N802 - the methods have the names of the service
from __future__ import annotations

import asyncio
import os
import sys
import zlib
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from echoplane.inference import grpc_service_pb2 as oip
from echoplane.inference import grpc_service_pb2_grpc as oip_grpc
from echoplaned.core.endpoints import Endpoint, EndpointProtocol, tcp_endpoint
from echoplaned.core.measure import Histogram, Measure
from echoplaned.core.signature import signature_for
from echoplaned.worker_contract.golden import PROBE_MARK
from echoplaned.worker_contract.order import Loaded, LoadFailedError, LoadOrder, WrongPhaseError
from echoplaned.worker_contract.record import RecordFile, WorkerPhase
from echoplaned.worker_contract.report import CounterFlags, Counters, Report, StartProgress
from echoplaned.worker_contract.server import lead
from echoplaned.worker_contract.service import TraceRecorder

KIND = "tiny"
VERSION = "tiny 1.0"
WIDTH = 8
_ENGINE_DIED = 70


class TinyLeader(oip_grpc.GRPCInferenceServiceServicer):
    """Leads one child; counts requests and their latency, and tells neither traces nor memory."""

    traces: TraceRecorder | None = None

    def __init__(self, record_file: RecordFile) -> None:
        self._record_file = record_file
        self._spoilers = Path(sys.argv[sys.argv.index("--state-dir") + 1])
        self._order: LoadOrder | None = None
        self._engine: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._draining = False
        self._http: asyncio.Server | None = None
        self._ok = 0
        self._last_arrival_s: float | None = None
        self._step = StartProgress()

    async def open(self, server: grpc.aio.Server) -> tuple[Endpoint, ...]:
        """Add inference, and listen for HTTP beside it."""
        oip_grpc.add_GRPCInferenceServiceServicer_to_server(self, server)
        self._http = await asyncio.start_server(self._answer_http, "127.0.0.1", 0)
        port = self._http.sockets[0].getsockname()[1]
        return (tcp_endpoint(EndpointProtocol.OPENAI_HTTP, f"127.0.0.1:{port}"),)

    async def _answer_http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    def report(self) -> Report:
        """Return how it stands."""
        now_s = asyncio.get_running_loop().time()
        order = self._order
        return Report(
            phase=self._record_file.record.phase,
            counters=Counters(ok=self._ok, arrivals=self._ok),
            flags=CounterFlags(counts_arrivals=True, counts_errors=True, has_histograms=True),
            idle_s=None if self._last_arrival_s is None else now_s - self._last_arrival_s,
            progress=self._ok,
            draining=self._draining,
            instance=str(order.instance) if order is not None else "",
            generation=order.generation if order is not None else 0,
            engine_version=VERSION,
            kind=KIND,
            histograms=(Histogram(Measure.END_TO_END, (0.1,), (self._ok, 0), 0.001 * self._ok),),
            start=self._step,
        )

    async def load(self, order: LoadOrder) -> Loaded:
        """Start the child; the same order again has the same result."""
        if self._order is not None and self._order != order:
            raise WrongPhaseError("it has another order")
        if self._order is None:
            await self._start(order)
        return Loaded(signature_for(order.task, embedding_width=WIDTH, label_count=3), VERSION)

    async def _start(self, order: LoadOrder) -> None:
        self._order = order
        self._record_file.update(WorkerPhase.LOADING, instance=str(order.instance), generation=order.generation)
        self._step = StartProgress("starting the child", 1)
        (self._spoilers / "devices").write_text(" ".join(order.device_ids), encoding="utf-8")
        # One child in this session, and one that makes a session of its own, as engines do.
        child = await asyncio.create_subprocess_exec("/bin/sleep", "3600")
        await asyncio.create_subprocess_exec("/bin/sleep", "3601", start_new_session=True)
        self._engine = asyncio.create_task(self._end_with(child))
        if "endless" in order.engine_options:
            await asyncio.Event().wait()
        if "broken" in order.engine_options:
            self._record_file.update(WorkerPhase.FAILED)
            raise LoadFailedError("the weights are not finite")
        self._record_file.update(WorkerPhase.READY)
        self._changed.set()

    async def _end_with(self, child: asyncio.subprocess.Process) -> None:
        await child.wait()
        os._exit(_ENGINE_DIED)

    def mark_draining(self, *, draining: bool) -> None:
        """Remember."""
        self._draining = draining

    async def wait_for_change(self, timeout_s: float) -> None:
        """Return at a change, or after the timeout."""
        self._changed.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return

    async def ModelInfer(
        self, request: oip.ModelInferRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> oip.ModelInferResponse:
        """Answer a text with numbers that depend on it alone."""
        if PROBE_MARK not in tuple(context.invocation_metadata() or ()):
            self._last_arrival_s = asyncio.get_running_loop().time()
        order = self._order
        assert order is not None
        if self._is_told("hang"):
            await asyncio.Event().wait()
        (output,) = signature_for(order.task, embedding_width=WIDTH, label_count=3).outputs
        seed = zlib.crc32(request.raw_input_contents[0])
        scale = 0.0 if self._is_told("zeros") else 1.0
        values = scale * np.random.default_rng(seed).standard_normal(WIDTH)
        self._ok += 1
        response = oip.ModelInferResponse(model_name=request.model_name, model_version=request.model_version)
        response.outputs.add(name=output.name, datatype=output.datatype, shape=[1, WIDTH])
        response.raw_output_contents.append(values.astype("<f4").tobytes())
        return response

    def _is_told(self, word: str) -> bool:
        return (self._spoilers / word).exists()


if __name__ == "__main__":
    sys.exit(lead(KIND, TinyLeader, "A leader for tests."))
