"""A real worker process for tests, and short ways to ask it things."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import struct
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx2

from echoplane.channels import DIRECT_OPTIONS
from echoplane.inference import grpc_service_pb2 as oip
from echoplane.inference import grpc_service_pb2_grpc as oip_grpc
from echoplane.worker.v1 import worker_pb2, worker_pb2_grpc
from echoplaned.engines.launcher import LaunchOptions, default_bytecode_cache, last_log_lines, launch, log_path
from echoplaned.worker_contract.control_key import Metadata, key_metadata
from echoplaned.worker_contract.record import WorkerRecord, read_record, records_dir

WARM_S = 100.0


@dataclass(frozen=True)
class LiveWorker:
    """A worker that serves. ``key``: metadata that makes a call one of the daemon's."""

    state_dir: Path
    pid: int
    channel: grpc.Channel
    oip: oip_grpc.GRPCInferenceServiceStub
    control: worker_pb2_grpc.WorkerServiceStub
    key: Metadata

    @property
    def socket(self) -> str:
        """Where it speaks HTTP."""
        return str((records_dir(self.state_dir) / "w1.sock").resolve())

    def http(self) -> httpx2.Client:
        """Return an HTTP client of its socket; the host's name means nothing there."""
        return httpx2.Client(transport=httpx2.HTTPTransport(uds=self.socket), base_url="http://worker", timeout=WARM_S)

    def report(self) -> worker_pb2.WorkerReport:
        """Return a fresh report."""
        watch = self.control.Watch(worker_pb2.WatchRequest(interval_s=60), metadata=self.key)
        try:
            return next(iter(watch))
        finally:
            watch.cancel()

    def wait_for(self, state: worker_pb2.WorkerState) -> worker_pb2.WorkerReport:
        """Return the first report of a state; a FAILED worker fails the test."""
        watch = self.control.Watch(worker_pb2.WatchRequest(interval_s=0.2), timeout=WARM_S, metadata=self.key)
        for report in watch:
            if report.state == state:
                watch.cancel()
                return report
            assert report.state != worker_pb2.WORKER_STATE_FAILED, report.failure
        raise AssertionError("the worker ended its reports")


class TraceReader:
    """Reads a worker's traces in a thread of its own."""

    def __init__(self, worker: LiveWorker, fraction: float = 1.0) -> None:
        self.traces: list[worker_pb2.Trace] = []
        self._worker = worker
        self._last_sent = False
        request = worker_pb2.WatchTracesRequest(fraction=fraction, interval_s=0.05)
        self._call = worker.control.WatchTraces(request, timeout=WARM_S, metadata=worker.key)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def began(self) -> bool:
        """Send one request after the other until a trace has come; then wait for the last one's, and forget all."""
        if not self.traces:
            self._worker.oip.ModelInfer(text_request("Bread"))
            return False
        if not self._last_sent:
            self._worker.oip.ModelInfer(text_request("Bread"), metadata=(("echoplane-conversation", "last"),))
            self._last_sent = True
        done = self.traces[-1].conversation == "last"
        if done:
            self.traces.clear()
        return done

    def stop(self) -> None:
        """End the call."""
        self._call.cancel()
        self._thread.join(WARM_S)

    def _read(self) -> None:
        with contextlib.suppress(grpc.RpcError):
            for batch in self._call:
                assert batch.instance == "m/v1#0"
                self.traces += batch.traces


def load_request(source: Path, task: str, **changes: object) -> worker_pb2.LoadRequest:
    """Return an order to load ``m/v1#0``."""
    fields: dict[str, Any] = {
        "instance": "m/v1#0",
        "generation": 1,
        "model_id": "m",
        "version_id": "v1",
        "source_path": str(source),
        "dtype": "DTYPE_FP32",
        "task": f"TASK_{task}",
        "context_length": 64,
        "max_concurrency": 8,
    }
    return worker_pb2.LoadRequest(**{**fields, **changes})


@contextmanager
def live_worker(source: Path, task: str, **changes: object) -> Iterator[LiveWorker]:
    """Start a worker, load a checkpoint, and end it afterwards."""
    state_dir = Path(tempfile.mkdtemp(prefix="worker-test-"))
    options = LaunchOptions(state_dir, bytecode_cache=default_bytecode_cache(Path.home()))
    pid = launch("w1", options, urgent=True)
    try:
        record = _listening_record(state_dir)
        with grpc.insecure_channel(record.address, DIRECT_OPTIONS) as channel:
            control = worker_pb2_grpc.WorkerServiceStub(channel)
            stub = oip_grpc.GRPCInferenceServiceStub(channel)
            worker = LiveWorker(state_dir, pid, channel, stub, control, key_metadata(record.control_key))
            worker.wait_for(worker_pb2.WORKER_STATE_SPARE)
            control.Load(load_request(source, task, **changes), timeout=WARM_S, metadata=worker.key)
            yield worker
            stray = stray_lines(log_path(state_dir, "w1").read_text(encoding="utf-8"))
            assert not stray, "\n".join(stray)
    except BaseException as error:
        error.add_note(last_log_lines(state_dir, "w1", 30))
        raise
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        shutil.rmtree(state_dir)


def _listening_record(state_dir: Path) -> WorkerRecord:
    for _ in range(600):
        record = read_record(records_dir(state_dir) / "w1.json")
        if record is not None and record.address:
            return record
        time.sleep(0.05)
    raise AssertionError("the worker wrote no address")


def stray_lines(log: str) -> list[str]:
    """Return the lines of a worker's output that are no log events of its own, such as a library's warnings."""
    return [line for line in log.splitlines() if line.strip() and not line.startswith('{"')]


def text_request(*texts: str, model: str = "m", version: str = "", **parameters: float) -> oip.ModelInferRequest:
    """Return a typed request of texts; whole parameters are sent as integers."""
    message = oip.ModelInferRequest(model_name=model, model_version=version, id="r1")
    tensor = message.inputs.add(name="text", datatype="BYTES", shape=[len(texts)])
    tensor.contents.bytes_contents.extend(text.encode() for text in texts)
    for name, value in parameters.items():
        if isinstance(value, int):
            message.parameters[name].int64_param = value
        else:
            message.parameters[name].double_param = value
    return message


def score_request(*lines: str, **parameters: str | bool) -> oip.ModelInferRequest:
    """Return a request to score texts."""
    request = text_request(*lines)
    request.parameters["score"].bool_param = True
    for name, value in parameters.items():
        setattr(request.parameters[name], "bool_param" if isinstance(value, bool) else "string_param", value)
    return request


def ids_request(*rows: list[int]) -> oip.ModelInferRequest:
    """Return a raw request of token ids."""
    message = oip.ModelInferRequest(model_name="m")
    message.inputs.add(name="input_ids", datatype="INT64", shape=[len(rows), len(rows[0])])
    values = list(itertools.chain.from_iterable(rows))
    message.raw_input_contents.append(struct.pack(f"<{len(values)}q", *values))
    return message


def rows(response: oip.ModelInferResponse, name: str) -> list[tuple[float, ...]]:
    """Return a typed numeric output by rows."""
    output = next(output for output in response.outputs if output.name == name)
    values = output.contents.fp32_contents or output.contents.int64_contents
    width = output.shape[1]
    return [tuple(values[start : start + width]) for start in range(0, len(values), width)]


def texts(response: oip.ModelInferResponse) -> list[str]:
    """Return a typed text output."""
    output = next(output for output in response.outputs if output.name == "text")
    return [element.decode() for element in output.contents.bytes_contents]
