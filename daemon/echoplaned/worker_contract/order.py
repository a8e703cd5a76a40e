"""What a leader is told to load, what it answers, and why it may refuse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from echoplane.v1 import types_pb2
from echoplane.worker.v1 import worker_pb2
from echoplaned.core.facts import Dtype, Signature, Task
from echoplaned.core.ids import InstanceKey


@dataclass(frozen=True, slots=True)
class LoadOrder:
    """One instance to become.

    Attributes:
        instance: which one.
        generation: of the instance, from 1.
        source_path: the checkpoint.
        task: what it is served for.
        dtype: weight dtype to run with.
        context_length: tokens of one sequence, prompt and generated together.
        max_concurrency: sequences that are computed at once.
        engine_options: as the caller gave them; the kind's declaration says what they mean.
        device_id: ``host`` or ``cuda:N``.
        weights_format: of the stored weights, as the kind names it; empty: whatever is there.
    """

    instance: InstanceKey
    generation: int
    source_path: Path
    task: Task
    dtype: Dtype
    context_length: int
    max_concurrency: int
    engine_options: Mapping[str, str] = field(default_factory=dict)
    device_id: str = "host"
    weights_format: str = ""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was loaded.

    Attributes:
        signature: what requests and answers look like.
        engine_version: what runs the model.
        tensor_bytes: unique tensor storage; 0 where the engine cannot tell.
        load_s: time of the load, in seconds.
    """

    signature: Signature
    engine_version: str
    tensor_bytes: int = 0
    load_s: float = 0.0


class WrongPhaseError(Exception):
    """The leader is not on standby, or has another order."""


class LoadFailedError(Exception):
    """The engine cannot serve the version. ``retryable``: it might later, when memory is free again."""

    def __init__(self, reason: str, *, retryable: bool = False) -> None:
        super().__init__(reason)
        self.retryable = retryable


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
        device_id=request.device_id or "host",
        weights_format=request.weights_format,
    )


def write_order(order: LoadOrder) -> worker_pb2.LoadRequest:
    """Write an order to load."""
    version = order.instance.version
    return worker_pb2.LoadRequest(
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
        weights_format=order.weights_format,
    )


def write_loaded(loaded: Loaded) -> worker_pb2.LoadResponse:
    """Write what was loaded."""
    response = worker_pb2.LoadResponse(
        tensor_bytes=loaded.tensor_bytes, load_s=loaded.load_s, engine_version=loaded.engine_version
    )
    for spec in loaded.signature.inputs:
        response.signature.inputs.add(name=spec.name, datatype=spec.datatype, shape=spec.shape)
    for spec in loaded.signature.outputs:
        response.signature.outputs.add(name=spec.name, datatype=spec.datatype, shape=spec.shape)
    return response
