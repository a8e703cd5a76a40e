"""A program that stands for a worker that has no model yet: its record, and reports over the control service, without torch.

It is started as a worker is, with ``--worker-id ID --state-dir DIR``. The file ``DIR/tinyID``, or else ``DIR/tiny``, says what it
does. ``ready``: it is soon on standby; ``slow``: it stays WARMING until the file says otherwise; ``failed``: it reports that it
cannot; ``exit``: it ends at once with code 3.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import grpc.aio

from echoplane.worker.v1 import worker_pb2, worker_pb2_grpc

STATES = {
    "slow": worker_pb2.WORKER_STATE_WARMING,
    "ready": worker_pb2.WORKER_STATE_SPARE,
    "failed": worker_pb2.WORKER_STATE_FAILED,
}


if TYPE_CHECKING:  # the stubs call every method abstract; the generated code does not
    _Servicer = object
else:
    _Servicer = worker_pb2_grpc.WorkerServiceServicer


class Control(_Servicer):
    """Reports what the file says."""

    def __init__(self, behaviour: Path) -> None:
        self._behaviour = behaviour

    async def Watch(  # noqa: N802 - the method has the name of the service's
        self, request: worker_pb2.WatchRequest, context: Any
    ) -> AsyncIterator[worker_pb2.WorkerReport]:
        """Report ten times a second."""
        del request, context
        while True:
            state = STATES[self._behaviour.read_text()]
            failure = "no libraries" if state == STATES["failed"] else ""
            yield worker_pb2.WorkerReport(state=state, failure=failure)
            await asyncio.sleep(0.1)


def write_record(worker_id: str, state_dir: Path, port: int) -> None:
    """Write what a worker says of itself, as contract 1 has it."""
    record = {
        "worker_id": worker_id,
        "pid": os.getpid(),
        "start_ticks": int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]),
        "boot_id": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "phase": "WARMING",
        "address": f"127.0.0.1:{port}",
    }
    path = state_dir / "instances" / f"{worker_id}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".new").write_text(json.dumps(record))
    path.with_suffix(".new").replace(path)


async def serve(worker_id: str, state_dir: Path, behaviour: Path) -> None:
    """Listen, write the record, and go on until killed."""
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    worker_pb2_grpc.add_WorkerServiceServicer_to_server(cast(Any, Control(behaviour)), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    write_record(worker_id, state_dir, port)
    await server.wait_for_termination()


def main() -> int:
    """Do as the file says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--worker-id", required=True)
    parser.add_argument("--state-dir", required=True, type=Path)
    options, _ = parser.parse_known_args()
    own = options.state_dir / f"tiny{options.worker_id}"
    behaviour = own if own.exists() else options.state_dir / "tiny"
    if behaviour.read_text() == "exit":
        print("I cannot", flush=True)  # noqa: T201 - its log
        return 3
    asyncio.run(serve(options.worker_id, options.state_dir, behaviour))
    return 0


if __name__ == "__main__":
    sys.exit(main())
