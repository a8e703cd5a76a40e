"""Real worker processes under measurement: warm standby, load, full batches, and the figures that they report."""

from __future__ import annotations

import os
import signal
import struct
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc
import numpy as np

from echoplane.channels import DIRECT_OPTIONS
from echoplane.inference import grpc_service_pb2 as oip
from echoplane.inference import grpc_service_pb2_grpc as oip_grpc
from echoplane.worker.v1 import worker_pb2, worker_pb2_grpc
from echoplaned.engines.launcher import LaunchOptions, default_bytecode_cache, last_log_lines, launch
from echoplaned.worker_contract.control_key import Metadata, key_metadata
from echoplaned.worker_contract.record import WorkerRecord, read_record, records_dir

_WARM_S: Final = 300.0
_CALL_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker is to load, and the largest batch that it is to compute."""

    source: Path
    task: str
    dtype: str
    sequences: int
    tokens: int
    vocabulary: int


@dataclass(frozen=True, slots=True)
class Taken:
    """What a worker reported, in bytes above its warm idle self: tensors, peaks of the load and under load, pages of files."""

    tensor_bytes: int
    load_peak_bytes: int
    serving_peak_bytes: int
    file_bytes: int
    exercised_sequences: int
    exercised_tokens: int
    engine_version: str
    standby_bytes: int
    load_s: float


class WorkerFailedError(RuntimeError):
    """A worker did not become warm, load or answer."""


@contextmanager
def standby_worker(*, exact_memory: bool) -> Iterator[StandbyWorker]:
    """Start a worker, wait until it is warm, and end it afterwards. ``exact_memory``: its heap hands freed blocks back at once."""
    with tempfile.TemporaryDirectory(prefix="measured-") as folder:
        options = LaunchOptions(
            Path(folder), bytecode_cache=default_bytecode_cache(Path.home()), exact_memory=exact_memory
        )
        pid = launch("w1", options, urgent=True)
        try:
            record = _listening_record(Path(folder))
            with grpc.insecure_channel(record.address, DIRECT_OPTIONS) as channel:
                worker = StandbyWorker(Path(folder), channel, key_metadata(record.control_key))
                worker.wait_for_standby()
                yield worker
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


class StandbyWorker:
    """A warm worker with no model yet.

    Args:
        state_dir: where it keeps its record and its log.
        channel: to its port.
        key: metadata with its control key.
    """

    def __init__(self, state_dir: Path, channel: grpc.Channel, key: Metadata) -> None:
        self._state_dir = state_dir
        self._oip = oip_grpc.GRPCInferenceServiceStub(channel)
        self._control = worker_pb2_grpc.WorkerServiceStub(channel)
        self._key = key

    def wait_for_standby(self) -> None:
        """Return when it is a standby.

        Raises:
            WorkerFailedError: it is not going to be.
        """
        request = worker_pb2.WatchRequest(interval_s=0.2)
        for report in self._control.Watch(request, timeout=_WARM_S, metadata=self._key):
            if report.state == worker_pb2.WORKER_STATE_SPARE:
                return
            if report.state == worker_pb2.WORKER_STATE_FAILED:
                break
        raise WorkerFailedError(last_log_lines(self._state_dir, "w1", 10))

    def measure(self, order: Order, *, calls: int) -> Taken:
        """Load, compute full batches of random tokens, and return what the worker reports then.

        Raises:
            WorkerFailedError: it could not load or answer.
        """
        try:
            loaded = self._control.Load(_load(order), timeout=_CALL_S, metadata=self._key)
            rng = np.random.default_rng(order.tokens)
            for _ in range(calls):
                self._oip.ModelInfer(full_batch(order, rng), timeout=_CALL_S)
        except grpc.RpcError as error:
            raise WorkerFailedError(f"{error}\n{last_log_lines(self._state_dir, 'w1', 10)}") from error
        report = self._report()
        memory = report.memory
        standby = memory.spare_rss_anon_bytes + memory.spare_rss_file_bytes
        return Taken(
            tensor_bytes=loaded.tensor_bytes,
            load_peak_bytes=memory.load_peak_rss_bytes - standby,
            serving_peak_bytes=memory.peak_rss_bytes - standby,
            file_bytes=memory.rss_file_bytes - memory.spare_rss_file_bytes,
            exercised_sequences=memory.exercised_sequences,
            exercised_tokens=memory.exercised_tokens,
            engine_version=report.engine_version,
            standby_bytes=standby,
            load_s=loaded.load_s,
        )

    def _report(self) -> worker_pb2.WorkerReport:
        watch = self._control.Watch(worker_pb2.WatchRequest(interval_s=60), metadata=self._key)
        try:
            return next(iter(watch))
        finally:
            watch.cancel()


def full_batch(order: Order, rng: np.random.Generator) -> oip.ModelInferRequest:
    """Return a request that fills the batch and the context with random tokens; a decoder's last one is generated."""
    generates = order.task == "GENERATION"
    width = order.tokens - 1 if generates else order.tokens
    ids = rng.integers(2, order.vocabulary, (order.sequences, width))
    message = oip.ModelInferRequest(model_name="m")
    message.inputs.add(name="input_ids", datatype="INT64", shape=list(ids.shape))
    message.raw_input_contents.append(struct.pack(f"<{ids.size}q", *ids.ravel().tolist()))
    if order.sequences > 1:
        # One row is a token shorter, so that there is a mask: what is planned is a padded batch.
        mask = np.ones(ids.shape, dtype=np.int64)
        mask[-1, -1] = 0
        message.inputs.add(name="attention_mask", datatype="INT64", shape=list(ids.shape))
        message.raw_input_contents.append(struct.pack(f"<{mask.size}q", *mask.ravel().tolist()))
    if generates:
        message.parameters["max_tokens"].int64_param = 1
    return message


def _load(order: Order) -> worker_pb2.LoadRequest:
    return worker_pb2.LoadRequest(
        instance="m/v1#0",
        generation=1,
        model_id="m",
        version_id="v1",
        source_path=str(order.source),
        dtype=f"DTYPE_{order.dtype}",
        task=f"TASK_{order.task}",
        context_length=order.tokens,
        max_concurrency=order.sequences,
    )


def _listening_record(state_dir: Path) -> WorkerRecord:
    deadline_s = time.monotonic() + _WARM_S
    while time.monotonic() < deadline_s:
        record = read_record(records_dir(state_dir) / "w1.json")
        if record is not None and record.address:
            return record
        time.sleep(0.05)
    raise WorkerFailedError("the worker wrote no address")
