"""What the attacks on a worker share: its address, small honest requests beside an attack, and how each call ended."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from echoplane.channels import DIRECT_OPTIONS
from echoplane.inference import grpc_service_pb2 as oip
from echoplane.inference import grpc_service_pb2_grpc as oip_grpc
from echoplaned.worker_contract.record import WorkerRecord, read_records

CALL_S = 60.0


def serving_record(state_dir: Path) -> WorkerRecord:
    """Return the record of the one worker that serves."""
    (record,) = [one for one in read_records(state_dir) if one.instance]
    return record


def text_request(model: str, text: str, **parameters: float) -> oip.ModelInferRequest:
    """Return a request of one text; whole parameters are sent as integers."""
    message = oip.ModelInferRequest(model_name=model)
    message.inputs.add(name="text", datatype="BYTES", shape=[1]).contents.bytes_contents.append(text.encode())
    for name, value in parameters.items():
        setattr(message.parameters[name], "int64_param" if isinstance(value, int) else "double_param", value)
    return message


@dataclass(frozen=True, slots=True)
class Ended:
    """How a call ended, after how many seconds."""

    code: grpc.StatusCode
    details: str
    took_s: float


def call(stub: oip_grpc.GRPCInferenceServiceStub, request: Any) -> Ended:
    """Make one call and say how it ended."""
    began_s = time.monotonic()
    try:
        stub.ModelInfer(request, timeout=CALL_S)
    except grpc.RpcError as error:
        return Ended(error.code(), str(error.details()), time.monotonic() - began_s)
    return Ended(grpc.StatusCode.OK, "", time.monotonic() - began_s)


@contextmanager
def dial(address: str) -> Iterator[oip_grpc.GRPCInferenceServiceStub]:
    """Open a connection to a worker."""
    with grpc.insecure_channel(address, DIRECT_OPTIONS) as channel:
        yield oip_grpc.GRPCInferenceServiceStub(channel)


def _as_it_is(message: bytes) -> bytes:
    return message


def call_bytes(address: str, message: bytes) -> Ended:
    """Send bytes as they are in the place of a request."""
    with grpc.insecure_channel(address, DIRECT_OPTIONS) as channel:
        send = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer", _as_it_is, _as_it_is)
        began_s = time.monotonic()
        try:
            send(message, timeout=CALL_S)
        except grpc.RpcError as error:
            return Ended(error.code(), str(error.details()), time.monotonic() - began_s)
        return Ended(grpc.StatusCode.OK, "", time.monotonic() - began_s)


@dataclass
class Neighbour:
    """An honest caller in a thread of its own, with a connection of its own."""

    address: str
    requests: Callable[[int], oip.ModelInferRequest]
    pause_s: float = 0.05
    ended: list[Ended] = field(default_factory=list)

    @contextmanager
    def calling(self) -> Iterator[list[Ended]]:
        """Call again and again while the body runs; at least once before and after it."""
        stop = threading.Event()
        began = threading.Event()

        def work() -> None:
            with dial(self.address) as stub:
                for number in itertools.count():
                    self.ended.append(call(stub, self.requests(number)))
                    began.set()
                    if stop.wait(self.pause_s):
                        self.ended.append(call(stub, self.requests(number)))
                        return

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        began.wait(CALL_S)
        try:
            yield self.ended
        finally:
            stop.set()
            thread.join(2 * CALL_S)
