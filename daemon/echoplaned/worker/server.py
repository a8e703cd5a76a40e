"""A worker's process from its port to its exit code.

Nothing here imports torch before the port is bound.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import importlib.util
import logging
import os
import socket
import threading
import time
from dataclasses import dataclass
from typing import Final, Protocol, cast

import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

from echoplaned.core.endpoints import Endpoint, EndpointProtocol
from echoplaned.header_lines import quiet_header_lines
from echoplaned.worker.control import EmbeddedLeader
from echoplaned.worker.http.sockets import WorkerSocketPathError, open_socket
from echoplaned.worker.oip_service import InferenceService, add_inference
from echoplaned.worker.ports import ModelRuntime
from echoplaned.worker.priority import background
from echoplaned.worker.tracing import Tracer
from echoplaned.worker.worker import Worker
from echoplaned.worker_contract.inference.calls import CallCounter
from echoplaned.worker_contract.inference.errors import LoadError
from echoplaned.worker_contract.record import RecordFile
from echoplaned.worker_contract.server import LeaderServer
from echoplaned.worker_contract.service import StopOrder

_EXIT_DEAD_THREAD: Final = 70
_INFERENCE_SERVICE: Final = "inference.GRPCInferenceService"

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """How a worker process serves.

    Attributes:
        listen: address to listen on, ``host:port``; port 0: any.
        urgent: whether a load waits for this worker to be warm.
    """

    listen: str
    urgent: bool


def configure_logging(worker_id: str) -> None:
    """Write log messages as JSON lines with the worker's id to standard output.

    The launcher has made standard output a file.
    """
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    structlog.contextvars.bind_contextvars(worker=worker_id)
    quiet_header_lines()


def serve(record_file: RecordFile, options: ServeOptions) -> int:
    """Run the worker until it is told to end; return the process's exit code."""
    configure_logging(record_file.record.worker_id)
    return asyncio.run(_Process(record_file, options).run())


class Stoppable(Protocol):
    """A server beside gRPC's."""

    async def start(self) -> None:
        """Serve."""
        ...

    async def stop(self, grace_s: float) -> None:
        """Refuse new requests, give those under way ``grace_s``, and cut the rest.

        The grace is in seconds.
        """
        ...


class _Process:
    """Everything that lives as long as the process."""

    def __init__(self, record_file: RecordFile, options: ServeOptions) -> None:
        self._record_file = record_file
        self._options = options
        self._socket_path = record_file.socket_path.resolve()
        # Set once: a wall clock that is put right meanwhile would bring the traces of requests out of order.
        offset_s = time.time() - time.monotonic()
        self._worker = Worker(record_file, time.monotonic, Tracer(lambda: offset_s + time.monotonic()), _die)
        self._health = HealthServicer()

    async def run(self) -> int:
        """Serve until stopped."""
        loop = asyncio.get_running_loop()
        calls = CallCounter(self._worker.counters)
        leader = EmbeddedLeader(self._worker)
        server = LeaderServer(leader, self._record_file, self._worker.notify, (calls,))
        inference = InferenceService(self._worker, self._record_file.record.control_key)
        add_inference(inference, self._worker, server.server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server.server)
        await self._set_health(serving=False)
        listening = self._open_socket()
        address = await server.start(self._options.listen, self._http_endpoints() if listening else ())
        _log.info("worker.listening", address=address, http=listening is not None)
        self._warm_in_background(loop)
        http = None if listening is None else await self._serve_http(listening)
        health = asyncio.create_task(self._follow_health())
        order = await server.wait_for_stop()
        health.cancel()
        await self._shut_down(server, http, order)
        return 0

    def _open_socket(self) -> socket.socket | None:
        """Bind the socket for HTTP; None where there can be none, which leaves gRPC."""
        if importlib.util.find_spec("uvicorn") is None:
            _log.warning(
                "http.not_served", reason="the package uvicorn is not installed; it is part of the extra `torch`"
            )
            return None
        try:
            return open_socket(self._socket_path)
        except (WorkerSocketPathError, OSError) as error:
            _log.warning("http.not_served", reason=str(error))
            return None

    def _http_endpoints(self) -> tuple[Endpoint, ...]:
        address = f"unix:{self._socket_path}"
        return tuple(Endpoint(each, address) for each in (EndpointProtocol.OPENAI_HTTP, EndpointProtocol.OIP_HTTP))

    async def _serve_http(self, listening: socket.socket) -> Stoppable:
        """Serve HTTP on a bound socket and return the server.

        Its module is imported in a thread, beside the event loop, which has its gRPC port by now. Whoever connects to the socket meanwhile
        waits in its queue.
        """
        module = await asyncio.to_thread(importlib.import_module, "echoplaned.worker.http.listener")
        app = module.HttpApp(self._worker, time.time)
        http = cast("Stoppable", module.HttpServer(app, listening, self._socket_path))
        await http.start()
        return http

    def _warm_in_background(self, loop: asyncio.AbstractEventLoop) -> None:
        """Import and warm up in a thread that ends afterwards.

        It has low priority unless a load waits for it.
        """
        warm = _warm_urgently if self._options.urgent else _warm_politely

        def work() -> None:
            try:
                runtime = warm()
            except (ImportError, OSError, RuntimeError, ValueError, LoadError) as error:
                _log.exception("warm_up.failed")
                reason = f"cannot warm up: {type(error).__name__}: {error}"
                loop.call_soon_threadsafe(self._worker.failed, reason)
            else:
                loop.call_soon_threadsafe(self._worker.warmed, runtime)

        threading.Thread(target=work, name="warm-up", daemon=True).start()

    async def _follow_health(self) -> None:
        """Keep the health service in step with the worker."""
        while True:
            await self._set_health(serving=self._worker.serving is not None)
            await self._worker.wait_for_change(timeout_s=3600.0)

    async def _set_health(self, *, serving: bool) -> None:
        statuses = health_pb2.HealthCheckResponse
        status = statuses.SERVING if serving else statuses.NOT_SERVING
        for service in ("", _INFERENCE_SERVICE):
            await self._health.set(service, status)

    async def _shut_down(self, server: LeaderServer, http: Stoppable | None, order: StopOrder) -> None:
        """Say so to those who ask for health, then end in order."""
        _log.info("worker.stopping", grace_s=order.grace_s, in_flight=self._worker.counters.in_flight)
        await self._set_health(serving=False)
        ends = [server.stop(order)] if http is None else [server.stop(order), http.stop(order.grace_s)]
        await asyncio.gather(*ends)
        self._worker.close()
        _log.info("worker.stopped", cut=self._worker.counters.in_flight)


def _warm_urgently() -> ModelRuntime:
    """Import torch and what goes with it, and run tiny models once; several seconds."""
    module = importlib.import_module("echoplaned.worker.torch_model")
    runtime = cast("ModelRuntime", module.TorchRuntime())
    gc.collect()
    gc.freeze()  # some 10^6 objects that never go away: later collections need not look at them
    return runtime


def _warm_politely() -> ModelRuntime:
    with background():
        return _warm_urgently()


def _die() -> None:
    """End a process that cannot compute any more.

    The daemon sees it and starts another one.
    """
    os._exit(_EXIT_DEAD_THREAD)
