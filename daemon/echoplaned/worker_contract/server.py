"""Runs a leader's process from its port to its end.

So a leader is written in few lines.

``lead`` parses the command line that the daemon gives, claims the record, binds the port, serves control and whatever else the leader
adds, and ends in order: new calls refused, calls in flight given their grace, the record removed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import grpc

from echoplane.worker.v1 import worker_pb2_grpc
from echoplaned.core.endpoints import Endpoint, EndpointProtocol, tcp_endpoint
from echoplaned.worker_contract.arguments import EXIT_TAKEN, read_arguments
from echoplaned.worker_contract.record import RecordFile, RecordTakenError, WorkerPhase
from echoplaned.worker_contract.service import ControlService, Leader, StopOrder

SIGTERM_GRACE_S: Final = 10.0
HARD_STOP_MARGIN_S: Final = 5.0
"""Beyond the grace: gRPC's own stop is not trusted to return."""

# gRPC's own limit on a message that it receives, said explicitly because it is part of the contract (4 MiB).
# Its limit on headers is 8 KiB, and its refusal lists all of them, the gateway's own too: the gateway refuses above 16 KiB before it.
SERVER_OPTIONS: Final = (
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
    ("grpc.max_metadata_size", 32 * 1024),
    ("grpc.so_reuseport", 0),
)


class LeaderServer:
    """Serves a leader's control and what else it adds, until it is told to end.

    Args:
        leader: what leads the engine.
        record_file: its record.
        on_stop: called once when the end has begun, before calls in flight get their grace.
        interceptors: see every call before its handler does.
    """

    def __init__(
        self,
        leader: Leader,
        record_file: RecordFile,
        on_stop: Callable[[], None] | None = None,
        interceptors: Sequence[grpc.aio.ServerInterceptor[Any, Any]] = (),
    ) -> None:
        self._leader = leader
        self._record_file = record_file
        self._on_stop = on_stop
        self._orders: asyncio.Queue[StopOrder] = asyncio.Queue()
        self._control = ControlService(leader, self._orders.put_nowait, record_file.record.control_key)
        self.server = grpc.aio.server(options=SERVER_OPTIONS, interceptors=interceptors)
        worker_pb2_grpc.add_WorkerServiceServicer_to_server(self._control, self.server)

    async def start(self, listen: str, endpoints: Sequence[Endpoint] = ()) -> str:
        """Bind the port and serve; return the address, ``host:port``.

        The address, and further endpoints, are written to the record.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._orders.put_nowait, StopOrder(SIGTERM_GRACE_S))
        host = listen.rpartition(":")[0]
        address = f"{host}:{self.server.add_insecure_port(listen)}"
        await self.server.start()
        phase = self._record_file.record.phase
        self._record_file.update(
            phase, address=address, endpoints=(tcp_endpoint(EndpointProtocol.OIP_GRPC, address), *endpoints)
        )
        return address

    async def wait_for_stop(self) -> StopOrder:
        """Return when the process has been told to end."""
        return await self._orders.get()

    async def stop(self, order: StopOrder) -> None:
        """Refuse new calls, give those in flight their grace, and fail the rest.

        The process ends even where gRPC does not return.
        """
        watchdog = threading.Timer(order.grace_s + HARD_STOP_MARGIN_S, self._exit_now)
        watchdog.daemon = True
        watchdog.start()
        self._control.close()
        if self._on_stop is not None:
            self._on_stop()
        await self.server.stop(order.grace_s)
        watchdog.cancel()

    def _exit_now(self) -> None:
        self._record_file.release()
        os._exit(0)


class StandbyLeader(Leader, Protocol):
    """A leader that needs no warming up."""

    async def open(self, server: grpc.aio.Server) -> tuple[Endpoint, ...]:
        """Add the services that clients call to the server.

        The inference service is among them. Returns where else clients may call.
        """
        ...


def lead(kind: str, make: Callable[[RecordFile], StandbyLeader], description: str) -> int:
    """Run a leader that is on standby as soon as it listens; return its exit code.

    0: stopped as told. 2: bad arguments. 3: the id is taken.

    Args:
        kind: the kind of engine that it leads.
        make: makes the leader, on the event loop that runs it.
        description: for ``--help``.
    """
    arguments = read_arguments(description)
    try:
        record_file = RecordFile(arguments.state_dir, arguments.worker_id, kind)
    except RecordTakenError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_TAKEN
    try:
        asyncio.run(_lead(record_file, make, arguments.listen))
    finally:
        record_file.release()
    return 0


async def _lead(record_file: RecordFile, make: Callable[[RecordFile], StandbyLeader], listen: str) -> None:
    leader = make(record_file)
    server = LeaderServer(leader, record_file)
    await server.start(listen, await leader.open(server.server))
    record_file.update(WorkerPhase.STANDBY)
    await server.stop(await server.wait_for_stop())
