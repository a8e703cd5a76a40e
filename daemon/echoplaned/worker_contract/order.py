"""What a leader is told to load, what it answers, and why it may refuse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from echoplane.v1 import types_pb2
from echoplane.worker.v1 import worker_pb2
from echoplaned.core.facts import Dtype, Signature, SourceContent, SourceFile, Task
from echoplaned.core.failure import Reason
from echoplaned.core.ids import InstanceKey


@dataclass(frozen=True, slots=True)
class LoadOrder:
    """One instance to become.

    Attributes:
        instance: instance that the leader becomes.
        generation: generation of the instance, from 1.
        source_path: path of the checkpoint.
        task: task that the model is served for.
        dtype: dtype that the weights are run with.
        context_length: tokens of one sequence, prompt and generated together, from 1.
        max_concurrency: sequences that are computed at once, from 1.
        engine_options: options as the caller gave them; the kind's declaration says what they mean.
        device_ids: devices that it runs on, one a rank: ``host`` or ``cuda:N``.
        weights_format: format of the stored weights, as the kind names it; empty: whatever is there.
        digest: digest of the content that is meant; empty: whatever is there.
        content: files that hold the content, as they were when it was ordered; None: they are not named.
        kv_cache_bytes: bytes that the plan gives the cache on each device; 0: it names none.
        reserved_bytes: bytes that the plan reserves of the device that gives most, the cache among them; 0: not known.
        engine_build: build of the engine that is asked for; empty: any.
    """

    instance: InstanceKey
    generation: int
    source_path: Path
    task: Task
    dtype: Dtype
    context_length: int
    max_concurrency: int
    engine_options: Mapping[str, str] = field(default_factory=dict)
    device_ids: tuple[str, ...] = ("host",)
    weights_format: str = ""
    digest: str = ""
    content: SourceContent | None = None
    kv_cache_bytes: int = 0
    reserved_bytes: int = 0
    engine_build: str = ""

    @property
    def device_id(self) -> str:
        """The first device, which its kind goes by: all of them are ``host``, or GPUs."""
        return self.device_ids[0]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was loaded.

    Attributes:
        signature: inputs and outputs of the model.
        engine_version: names and versions of what runs the model.
        tensor_bytes: bytes of unique tensor storage; 0: the engine cannot tell.
        load_s: duration of the load, seconds.
        engine_build: build that later processes of the version must be of; empty: any.
    """

    signature: Signature
    engine_version: str
    tensor_bytes: int = 0
    load_s: float = 0.0
    engine_build: str = ""


class WrongPhaseError(Exception):
    """The leader is not on standby, or has another order."""


class LoadFailedError(Exception):
    """The engine cannot serve the version.

    Args:
        message: why, in a sentence.
        retryable: it might later, when memory is free again.
        reason: how the version shall be said to have failed.
    """

    def __init__(self, message: str, *, retryable: bool = False, reason: Reason = Reason.ENGINE_START_FAILED) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.reason = reason


def read_order(request: worker_pb2.LoadRequest) -> LoadOrder:
    """Read an order to load.

    Raises:
        ValueError: a field is missing or out of range.
    """
    instance = InstanceKey.parse(request.instance)
    if (request.model_id, request.version_id) != (instance.version.model, instance.version.version):
        raise ValueError("model_id and version_id must be those of the instance")
    if not request.source_path or request.generation < 1 or request.context_length < 1 or request.max_concurrency < 1:
        raise ValueError("source_path, generation, context_length and max_concurrency are needed")
    return LoadOrder(
        instance=instance,
        generation=request.generation,
        source_path=Path(request.source_path),
        task=Task(types_pb2.Task.Name(request.task).removeprefix("TASK_")),
        dtype=Dtype(types_pb2.Dtype.Name(request.dtype).removeprefix("DTYPE_")),
        context_length=request.context_length,
        max_concurrency=request.max_concurrency,
        engine_options=dict(request.engine_options),
        device_ids=(request.device_id or "host", *request.further_device_ids),
        weights_format=request.weights_format,
        digest=request.source_digest,
        content=_read_content(request),
        kv_cache_bytes=max(0, request.kv_cache_bytes),
        reserved_bytes=max(0, request.reserved_bytes),
        engine_build=request.engine_build,
    )


def _read_content(request: worker_pb2.LoadRequest) -> SourceContent | None:
    if not request.source_files:
        return None
    files = tuple(
        SourceFile(file.name, file.path, file.size_bytes, file.inode, file.change_time_ns)
        for file in request.source_files
    )
    for file in files:
        path = PurePosixPath(file.name)
        if path.is_absolute() or not path.parts or ".." in path.parts:
            raise ValueError(f"{file.name[:200]!r} is no name of a file within the checkpoint")
    return SourceContent(request.source_root, files)


def write_order(order: LoadOrder) -> worker_pb2.LoadRequest:
    """Write an order to load."""
    version = order.instance.version
    request = worker_pb2.LoadRequest(
        instance=str(order.instance),
        generation=order.generation,
        model_id=version.model,
        version_id=version.version,
        source_path=str(order.source_path),
        dtype=f"DTYPE_{order.dtype}",
        task=f"TASK_{order.task}",
        context_length=order.context_length,
        max_concurrency=order.max_concurrency,
        engine_options=dict(order.engine_options),
        device_id=order.device_id,
        further_device_ids=order.device_ids[1:],
        weights_format=order.weights_format,
        source_digest=order.digest,
        kv_cache_bytes=order.kv_cache_bytes,
        reserved_bytes=order.reserved_bytes,
        engine_build=order.engine_build,
    )
    if order.content is not None:
        request.source_root = order.content.root
        for file in order.content.files:
            request.source_files.add(
                name=file.name,
                path=file.path,
                size_bytes=file.size_bytes,
                inode=file.inode,
                change_time_ns=file.change_time_ns,
            )
    return request


def write_loaded(loaded: Loaded) -> worker_pb2.LoadResponse:
    """Write what was loaded."""
    response = worker_pb2.LoadResponse(
        tensor_bytes=loaded.tensor_bytes,
        load_s=loaded.load_s,
        engine_version=loaded.engine_version,
        engine_build=loaded.engine_build,
    )
    for spec in loaded.signature.inputs:
        response.signature.inputs.add(name=spec.name, datatype=spec.datatype, shape=spec.shape)
    for spec in loaded.signature.outputs:
        response.signature.outputs.add(name=spec.name, datatype=spec.datatype, shape=spec.shape)
    return response
